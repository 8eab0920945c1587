import type { EncodingEffort } from '../exchange/encoded-body.js';
import { CODED_FORMS, codedTag } from '../http/entity-tag.js';
import { formatHttpDate, type HttpDates, parseHttpDate } from '../http/http-date.js';
import type { StoredResponse } from '../store/stored-response.js';

/** The encoded body that belongs to a head. */
export interface HeadEncoding {
  readonly coding: string;
  readonly effort: EncodingEffort;
}

/** Writes the value of a field that differs between the entries of a group. */
export type HeadSlot = (entry: StoredResponse) => string;

export interface HeadParts {
  readonly status: number;
  /** Status line and fields with line ends, split at the slots. */
  readonly texts: readonly string[];
  readonly slots: readonly HeadSlot[];
  readonly coded: HeadEncoding | undefined;
  readonly names: ReadonlySet<string>;
  readonly leavesExpress: boolean;
}

/** The part of a head that is the same for all responses with one entry, or with a group of entries. */
export class HeadTemplate {
  readonly status: number;
  /** Absent for the plain body. */
  readonly coded: HeadEncoding | undefined;
  /** The names of its fields, in lower case. */
  readonly names: ReadonlySet<string>;
  /** The handler has not replaced or removed Express's `X-Powered-By`. */
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

  /** Status line and fields, with line ends. */
  textFor(entry: StoredResponse): string {
    let text = this.#texts[0]!;
    for (let at = 0; at < this.#slots.length; at++) text += this.#slots[at]!(entry) + this.#texts[at + 1]!;
    return text;
  }

  /** Characters of its text, without the slots. */
  get length(): number {
    return this.#texts.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Fields that get a slot, if their value is that of the entry or derived from it. */
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
 * The slot for a field in the template of a group.
 *
 * @returns `undefined` if the value is the same for the whole group; `false` if it differs and can't be derived.
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

/** The slot for an `Expires` that the Cache-Control middleware derives from `Date`. */
function expiresFor(value: string, entry: StoredResponse, dates: HttpDates): HeadSlot | undefined | false {
  if (entry.headers.some(([name]) => name.toLowerCase() === 'expires')) return undefined;
  const [from, until] = [dates.parse(entry.date), parseHttpDate(value)];
  if (from === undefined || until === undefined) return false;
  const after = until - from;
  const slot: HeadSlot = ({ date }) => formatHttpDate((dates.parse(date) ?? 0) + after);
  return slot(entry) === value && slot;
}
