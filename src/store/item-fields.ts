import type { StoredField, StoredResponse, VariantIndex } from './entry.js';
import {
  boolean,
  type Fields,
  fieldLines,
  fieldNames,
  fieldValue,
  isObject,
  listOf,
  optional,
  readFields,
  reuse,
  type SharedTimes,
  seconds,
  status,
  storedNames,
  string,
  time,
  writeFields,
} from './fields.js';
import { Recent } from './recent.js';

/** What a response has for itself. */
export interface OwnFields
  extends Pick<
    StoredResponse,
    'url' | 'tags' | 'etag' | 'lastModified' | 'date' | 'storedAt' | 'freshUntil'
  > {
  /** Of the header fields, in the order of their names. */
  readonly values: readonly StoredField[1][];
}

/** What is written beside the fields, follows from them, or does not travel. */
type Elsewhere =
  | 'kind'
  | 'key'
  | 'stamp'
  | 'since'
  | 'path'
  | 'headers'
  | 'body'
  | 'encoded'
  | 'prepared'
  | 'variance';

/**
 * What the responses of one route have in common, most of the time: every field of a response but for those above,
 * so one that is added to `StoredResponse` must be added here, and the compiler says so.
 */
export interface FormFields extends Omit<StoredResponse, keyof OwnFields | Elsewhere> {
  /** Of the header fields. */
  readonly names: readonly string[];
}

const form: Fields<FormFields> = {
  vary: fieldNames,
  status,
  names: storedNames,
  removed: fieldNames,
  ownEtag: boolean,
  initialAge: seconds,
  reuse,
  explicitlyShared: boolean,
  anyOrigin: optional(boolean),
  upstream: optional(boolean),
  template: optional(string),
};

const own: Fields<OwnFields> = {
  url: string,
  tags: listOf(string),
  values: listOf(fieldLines),
  etag: fieldValue,
  lastModified: optional(fieldValue),
  date: fieldValue,
  storedAt: time,
  freshUntil: time,
};

const variants: Fields<Omit<VariantIndex, 'kind'>> = { names: fieldNames, keys: listOf(string) };

export function writeOwn(entry: StoredResponse, times: SharedTimes): Record<string, unknown> {
  const { url, tags, etag, lastModified, date, storedAt, freshUntil } = entry;
  const values = entry.headers.map(([, lines]) => lines);
  return writeFields(own, { url, tags, values, etag, lastModified, date, storedAt, freshUntil }, times);
}

/** As `readFields`, for every hit: each field by its name. */
export function readOwn(written: unknown, times: SharedTimes): OwnFields | undefined {
  if (!isObject(written)) return undefined;
  const url = own.url.read(written.url, times);
  const tags = own.tags.read(written.tags, times);
  const values = own.values.read(written.values, times);
  const etag = own.etag.read(written.etag, times);
  const lastModified = own.lastModified.read(written.lastModified, times);
  const date = own.date.read(written.date, times);
  const storedAt = own.storedAt.read(written.storedAt, times);
  const freshUntil = own.freshUntil.read(written.freshUntil, times);
  if (url === undefined || tags === undefined || values === undefined || etag === undefined) return undefined;
  if (date === undefined || storedAt === undefined || freshUntil === undefined) return undefined;
  const read: OwnFields = { url, tags, values, etag, lastModified, date, storedAt, freshUntil };
  // None that is unknown, and a last modification only where there is a good one.
  const count = Object.keys(read).length - (lastModified === undefined ? 1 : 0);
  return Object.keys(written).length === count ? read : undefined;
}

export function writeForm(entry: StoredResponse, times: SharedTimes): Record<string, unknown> {
  const { vary, status, removed, ownEtag, initialAge, reuse, explicitlyShared } = entry;
  const { anyOrigin, upstream, template } = entry;
  const names = entry.headers.map(([name]) => name);
  const some = { vary, status, names, removed, ownEtag, initialAge, reuse, explicitlyShared };
  return writeFields(form, { ...some, anyOrigin, upstream, template }, times);
}

export function writeVariants(index: VariantIndex, times: SharedTimes): Record<string, unknown> {
  return writeFields(variants, { names: index.names, keys: index.keys }, times);
}

export function readVariants(written: unknown, times: SharedTimes): VariantIndex | undefined {
  const read = readFields(variants, written, times);
  return read && { kind: 'variants', names: read.names, keys: read.keys };
}

/** Characters of the forms that are remembered. */
const MOST_REMEMBERED = 128 * 1024;

/** Reads forms; one that was met before is known by its text. */
export class Forms {
  readonly #known = new Recent<FormFields | undefined>(MOST_REMEMBERED);

  /** @param text JSON in UTF-8, each byte as one character. @returns `undefined` for what is no form. */
  read(text: string, times: SharedTimes): FormFields | undefined {
    return this.#known.get(text, () =>
      readFields(form, parsed(Buffer.from(text, 'latin1').toString('utf8')), times),
    );
  }
}

/** What is said in JSON; `undefined` for what is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
