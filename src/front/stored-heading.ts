import { type IncomingMessage, STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import { isAskedEachTime } from '../cache/hits.js';
import { isEverybodys } from '../cache/lookup.js';
import type { CacheRuleSettings } from '../config/cache.js';
import type { EncodedBody, EncodingEffort } from '../exchange/encoded.js';
import { HeaderSink, type Heading, type PathTable } from '../exchange/heading.js';
import type { Prepared, StoredResponse } from '../store/entry.js';

/** The head of an answer, but for what differs from one answer to the next. */
export interface Head {
  readonly status: number;
  /** The status line and the fields, each line with its end. */
  readonly text: string;
  /** The stored form that goes with it; absent for the plain body. */
  readonly coded?: { readonly coding: string; readonly effort: EncodingEffort };
  /** Names of fields that are in it, in lower case. */
  readonly names: ReadonlySet<string>;
  /** Nobody has replaced or taken away what Express says of itself. */
  readonly leavesExpress: boolean;
}

/** Of those that differ by `If-None-Match`, which is the visitor's to choose. */
interface Confirmed {
  readonly variation: string;
  readonly head: Head;
}

/** Objects of one head, beside its text; measured. Bytes. */
const OVERHEAD = 400;

/** What has been worked out of an entry: it goes with the entry, whose memory it counts to. */
export class PreparedEntry implements Prepared {
  readonly rule: CacheRuleSettings | undefined;
  /** It may be served in front of the app. */
  readonly isPublic: boolean;
  /** It may be served without asking anyone. */
  readonly isServed: boolean;
  bytes = OVERHEAD;
  readonly #heads = new Map<string, Head>();
  #confirmed: Confirmed | undefined;

  constructor(entry: StoredResponse, rule: CacheRuleSettings | false | undefined, isServed: boolean) {
    this.rule = rule || undefined;
    this.isServed = isServed && rule !== false && !(rule && isAskedEachTime(rule)) && !entry.upstream;
    this.isPublic = this.isServed && isEverybodys(entry, this.rule);
  }

  /** @param variation what the head of a whole answer differs by. */
  whole(variation: string): Head | undefined {
    return this.#heads.get(variation);
  }

  /** @param variation what the head of a 304 differs by. */
  notModified(variation: string): Head | undefined {
    return this.#confirmed?.variation === variation ? this.#confirmed.head : undefined;
  }

  keep(variation: string, head: Head): void {
    const before = head.status === 304 ? this.#confirmed?.head : undefined;
    if (head.status === 304) this.#confirmed = { variation, head };
    else this.#heads.set(variation, head);
    this.bytes += sizeOfHead(head) - (before ? sizeOfHead(before) : 0);
  }
}

function sizeOfHead({ text }: Head): number {
  return OVERHEAD + text.length;
}

/** An answer with a stored response, whose head is made before there is anything to send it on. */
export class StoredHeading implements Heading {
  readonly req: IncomingMessage;
  readonly res = new HeaderSink();
  readonly encoded: EncodedBody;
  readonly #entry: StoredResponse;
  #coded: Head['coded'];
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

  /** @throws what Node throws for a field that can't be sent: what came from elsewhere may be anything. */
  toHead(): Head {
    const names = new Set<string>();
    const { statusCode: status } = this.res;
    let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    for (const [name, value] of this.res.lines()) {
      const lower = name.toLowerCase();
      names.add(lower);
      if (lower === 'content-length') continue; // by which Node frames the answer, so it is to see it
      validateHeaderName(name);
      validateHeaderValue(name, value);
      text += `${name}: ${value}\r\n`;
    }
    const leavesExpress = !names.has(BY_EXPRESS) && !this.#entry.removed.includes(BY_EXPRESS);
    const coded = this.#isCoded ? this.#coded : undefined;
    return { status, text, coded, names, leavesExpress };
  }
}

const BY_EXPRESS = 'x-powered-by';
