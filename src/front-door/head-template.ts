import type { EncodingEffort } from '../exchange/encoded-body.js';
import { CODED_FORMS, codedTag } from '../http/entity-tag.js';
import { formatHttpDate, type HttpDates, parseHttpDate } from '../http/http-date.js';
import type { StoredResponse } from '../store/stored-response.js';

/** The stored form of a body that goes with a head. */
export interface HeadEncoding {
  readonly coding: string;
  readonly effort: EncodingEffort;
}

/** Writes the value of a field that each response of a kind has for itself. */
export type HeadSlot = (entry: StoredResponse) => string;

/** What a head is made of. */
export interface HeadParts {
  readonly status: number;
  /** The status line and the fields, each line with its end, cut where a slot stands. */
  readonly texts: readonly string[];
  readonly slots: readonly HeadSlot[];
  readonly coded: HeadEncoding | undefined;
  readonly names: ReadonlySet<string>;
  readonly leavesExpress: boolean;
}

/** The head of an answer, but for what differs from one answer to the next: of one response, or of a kind of them. */
export class HeadTemplate {
  readonly status: number;
  /** Absent for the plain body. */
  readonly coded: HeadEncoding | undefined;
  /** Names of fields that are in it, in lower case. */
  readonly names: ReadonlySet<string>;
  /** Nobody has replaced or taken away what Express says of itself. */
  readonly leavesExpress: boolean;
  readonly #texts: readonly string[];
  readonly #slots: readonly HeadSlot[];

  constructor({ status, texts, slots, coded, names, leavesExpress }: HeadParts) {
    this.status = status;
    this.coded = coded;
    this.names = names;
    this.leavesExpress = leavesExpress;
    this.#texts = texts;
    this.#slots = slots;
  }

  /** The status line and the fields, each line with its end. */
  textFor(entry: StoredResponse): string {
    let text = this.#texts[0]!;
    for (let at = 0; at < this.#slots.length; at++) text += this.#slots[at]!(entry) + this.#texts[at + 1]!;
    return text;
  }

  /** Characters of its text; those of slots are the entry's. */
  get length(): number {
    return this.#texts.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Fields of whose values those in an entry, or what is made of them, are the only ones that fit into a slot. */
const OWN: ReadonlySet<string> = new Set(['date', 'etag', 'last-modified']);

const dateOf: HeadSlot = ({ date }) => date;
const etagSlot: HeadSlot = ({ etag }) => etag;
const weakTagOf: HeadSlot = ({ etag }) => `W/${etag}`;
const codedTags = CODED_FORMS.map(
  (coding): HeadSlot =>
    ({ etag }) =>
      codedTag(etag, coding),
);
const lastModifiedOf: HeadSlot = ({ lastModified }) => lastModified ?? '';

/**
 * What stands for a line of one response in the head of its kind.
 *
 * @returns `undefined` where the line is the same for all of them; `false` where it is not, and can't be told.
 */
export function slotFor(
  name: string,
  value: string,
  entry: StoredResponse,
  dates: HttpDates,
): HeadSlot | undefined | false {
  if (!OWN.has(name)) return name === 'expires' ? expiresFor(value, entry, dates) : undefined;
  const slots =
    name === 'date' ? [dateOf] : name === 'etag' ? [etagSlot, weakTagOf, ...codedTags] : [lastModifiedOf];
  return slots.find((slot) => slot(entry) === value) ?? false;
}

/** One that follows from `Date`, where the handler gave none. */
function expiresFor(value: string, entry: StoredResponse, dates: HttpDates): HeadSlot | undefined | false {
  if (entry.headers.some(([name]) => name.toLowerCase() === 'expires')) return undefined;
  const [from, until] = [dates.parse(entry.date), parseHttpDate(value)];
  if (from === undefined || until === undefined) return false;
  const after = until - from;
  const slot: HeadSlot = ({ date }) => formatHttpDate((dates.parse(date) ?? 0) + after);
  return slot(entry) === value && slot;
}
