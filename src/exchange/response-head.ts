import type { IncomingMessage, OutgoingHttpHeader } from 'node:http';
import type { EncodedBody } from './encoded-body.js';

/** The methods that read and write the headers of a response. */
export interface ResponseHeaders {
  statusCode: number;
  sendDate: boolean;
  getHeader(name: string): OutgoingHttpHeader | undefined;
  getHeaderNames(): string[];
  hasHeader(name: string): boolean;
  setHeader(name: string, value: number | string | readonly string[]): unknown;
  removeHeader(name: string): void;
}

/** A table of rules by path, as far as an exchange uses it. */
export interface PathTable<Match> {
  match(path: string): Match | undefined;
}

/** A response head that listeners can edit: an exchange, or a prepared head. */
export interface EditableHead {
  readonly req: IncomingMessage;
  readonly res: ResponseHeaders;
  /** Length of the body, if it is known. Bytes. */
  readonly length: number | undefined;
  readonly encoded: EncodedBody | undefined;
  /** How long the response cache may use the response, from when it was made; `undefined` if it is not stored. Seconds. */
  readonly lifetime: number | undefined;
  setStatus(status: number): void;
  replaceBody(body: Buffer): void;
  match<Match>(table: PathTable<Match>): Match | undefined;
}

/** Header fields without a response, to prepare the head of a stored response ahead of its use. */
export class HeaderSink implements ResponseHeaders {
  statusCode = 200;
  readonly sendDate = true;
  readonly #fields = new Map<string, [name: string, value: OutgoingHttpHeader]>();

  getHeader(name: string): OutgoingHttpHeader | undefined {
    return this.#fields.get(name.toLowerCase())?.[1];
  }
  getHeaderNames(): string[] {
    return [...this.#fields.keys()];
  }
  hasHeader(name: string): boolean {
    return this.#fields.has(name.toLowerCase());
  }
  setHeader(name: string, value: number | string | readonly string[]): void {
    this.#fields.set(name.toLowerCase(), [name, typeof value === 'object' ? [...value] : value]);
  }
  removeHeader(name: string): void {
    this.#fields.delete(name.toLowerCase());
  }

  /** One pair per line. */
  *lines(): Generator<readonly [name: string, value: string]> {
    for (const [name, value] of this.#fields.values()) {
      if (Array.isArray(value)) for (const line of value) yield [name, line];
      else yield [name, String(value)];
    }
  }
}
