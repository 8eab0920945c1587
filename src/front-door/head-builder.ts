import { type IncomingMessage, STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import { lifetimeOf } from '../cache/serve/serve-stored.js';
import type { EncodedBody } from '../exchange/encoded-body.js';
import { type EditableHead, HeaderSink, type PathTable } from '../exchange/response-head.js';
import type { HttpDates } from '../http/http-date.js';
import type { StoredResponse } from '../store/stored-response.js';
import { type HeadEncoding, type HeadSlot, HeadTemplate, slotFor } from './head-template.js';

/** Builds the head of a stored response before there is a response to send it on. */
export class HeadBuilder implements EditableHead {
  readonly req: IncomingMessage;
  readonly res = new HeaderSink();
  readonly encoded: EncodedBody;
  readonly #entry: StoredResponse;
  #coded: HeadEncoding | undefined;
  #isCoded = false;
  #isOwn = false;

  /** @param find returns an encoded body of the entry. */
  constructor(req: IncomingMessage, entry: StoredResponse, find: EncodedBody) {
    this.req = req;
    this.#entry = entry;
    this.encoded = (coding, effort) => {
      this.#coded = { coding, effort };
      return find(coding, effort);
    };
  }

  /** A head with it is for this entry alone. */
  get lifetime(): number {
    this.#isOwn = true;
    return lifetimeOf(this.#entry);
  }

  get length(): number {
    return this.#entry.body.length;
  }

  setStatus(status: number): void {
    this.res.statusCode = status;
  }

  replaceBody(): void {
    this.#isCoded = true;
  }

  match<Match>(table: PathTable<Match>): Match | undefined {
    return table.match(this.#entry.path);
  }

  /**
   * @param dates given for a template that a group of entries shares.
   * @returns `undefined` if a field prevents sharing.
   * @throws Node's error for an invalid field: entries from Redis may have any value.
   */
  toHead(dates?: HttpDates): HeadTemplate | undefined {
    if (dates && this.#isOwn) return undefined;
    const names = new Set<string>();
    const texts: string[] = [];
    const slots: HeadSlot[] = [];
    const { statusCode: status } = this.res;
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    for (const [name, value] of this.res.lines()) {
      const lower = name.toLowerCase();
      names.add(lower);
      if (lower === 'content-length') continue; // Node adds it, and needs it to frame the body
      validateHeaderName(name);
      validateHeaderValue(name, value);
      const slot = dates && slotFor(lower, value, this.#entry, dates);
      if (slot === false) return undefined;
      if (slot) {
        texts.push(`${text}${name}: `);
        slots.push(slot);
        text = '\r\n';
      } else text += `${name}: ${value}\r\n`;
    }
    texts.push(text);
    const leavesExpress = !names.has(BY_EXPRESS) && !this.#entry.removed.includes(BY_EXPRESS);
    const coded = this.#isCoded ? this.#coded : undefined;
    return new HeadTemplate({ status, texts, slots, coded, names, leavesExpress });
  }

  /** Whether the compression middleware looked for an encoded body. */
  get isAsked(): boolean {
    return this.#coded !== undefined;
  }
}

const BY_EXPRESS = 'x-powered-by';
