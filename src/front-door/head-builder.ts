import { type IncomingMessage, STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { EncodedBody } from '../exchange/encoded-body.js';
import { type EditableHead, HeaderSink, type PathTable } from '../exchange/response-head.js';
import type { HttpDates } from '../http/http-date.js';
import type { StoredResponse } from '../store/stored-response.js';
import { type HeadEncoding, type HeadSlot, HeadTemplate, slotFor } from './head-template.js';

/** An answer with a stored response, whose head is made before there is anything to send it on. */
export class HeadBuilder implements EditableHead {
  readonly req: IncomingMessage;
  readonly res = new HeaderSink();
  readonly encoded: EncodedBody;
  readonly #entry: StoredResponse;
  #coded: HeadEncoding | undefined;
  #isCoded = false;

  /** @param find the entry's stored forms. */
  constructor(req: IncomingMessage, entry: StoredResponse, find: EncodedBody) {
    this.req = req;
    this.#entry = entry;
    this.encoded = (coding, effort) => {
      this.#coded = { coding, effort };
      return find(coding, effort);
    };
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
   * @param dates where it is to be that of other responses of the kind as well.
   * @returns `undefined` where it can't be.
   * @throws what Node throws for a field that can't be sent: what came from elsewhere may be anything.
   */
  toHead(dates?: HttpDates): HeadTemplate | undefined {
    const names = new Set<string>();
    const texts: string[] = [];
    const slots: HeadSlot[] = [];
    const { statusCode: status } = this.res;
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    for (const [name, value] of this.res.lines()) {
      const lower = name.toLowerCase();
      names.add(lower);
      if (lower === 'content-length') continue; // by which Node frames the answer, so it is to see it
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

  /** Whether an encoded form was asked for. */
  get isAsked(): boolean {
    return this.#coded !== undefined;
  }
}

const BY_EXPRESS = 'x-powered-by';
