import { InternTable } from '../../../runtime/intern.js';
import type { CompactResponse, Own, ResponseForm } from '../../compact-response.js';
import type { ResultHead, StoredResponse, VariantIndex } from '../../stored-response.js';
import {
  boolean,
  decodeFields,
  decodeList,
  encodeFields,
  type Field,
  type Fields,
  fieldLines,
  fieldNamesCodec,
  fieldValue,
  finite,
  listCodec,
  optional,
  reuse,
  secondsCodec,
  status,
  storedNames,
  string,
} from './field-codecs.js';

/** The frame, or the process, has the others. */
export interface OwnFields extends Omit<Own, 'key' | 'stamp' | 'since' | 'body' | 'encoded'> {
  /** Values of the header fields, in the order of their names. */
  readonly values: CompactResponse['values'];
}

/** Times of an entry on the clock of the Redis server. */
export type ServerTimes = Pick<OwnFields, 'storedAt' | 'freshUntil'>;

const strings = listCodec(string);

/**
 * The fields that differ from one response of a route to the next, in the order in which they are written. Times are
 * on the clock of the Redis server.
 */
const own: Fields<OwnFields> = {
  url: string,
  tags: strings,
  values: listCodec(fieldLines),
  etag: fieldValue,
  lastModified: optional(fieldValue),
  date: fieldValue,
  storedAt: finite,
  freshUntil: finite,
  handlerMicros: secondsCodec,
};

const ownInOrder = Object.entries<Field<unknown>>(own);

/** The fields that most responses of a route have in common. A response with `variance` is not written to Redis. */
const form: Fields<Omit<ResponseForm, 'variance'>> = {
  vary: fieldNamesCodec,
  status,
  names: storedNames,
  removed: fieldNamesCodec,
  ownEtag: boolean,
  initialAge: secondsCodec,
  reuse,
  explicitlyShared: boolean,
  anyOrigin: optional(boolean),
  upstream: optional(boolean),
  template: optional(string),
};

/** Writes a list, which reads twice as fast as an object. Every hit in Redis reads one. */
export function writeOwn(entry: StoredResponse, times: ServerTimes): readonly unknown[] {
  const { url, tags, etag, lastModified = null, date, handlerMicros } = entry;
  const values = entry.headers.map(([, lines]) => lines);
  return [url, tags, values, etag, lastModified, date, times.storedAt, times.freshUntil, handlerMicros];
}

/** Reads the result of `writeOwn`. Every value is checked, and there must be no others. */
export function readOwn(written: readonly unknown[]): OwnFields | undefined {
  return decodeList(ownInOrder, written) as OwnFields | undefined;
}

export function writeForm(entry: StoredResponse): Record<string, unknown> {
  const names = entry.headers.map(([name]) => name);
  return encodeFields(form, (field) => (field === 'names' ? names : entry[field]));
}

export function writeVariants({ names, keys }: VariantIndex): readonly unknown[] {
  return [names, keys];
}

export function readVariants(written: readonly unknown[]): VariantIndex | undefined {
  if (written.length !== 2) return undefined;
  const names = fieldNamesCodec.read(written[0]);
  const keys = strings.read(written[1]);
  return names && keys && { kind: 'variants', names, keys };
}

/** The fields of a function's result, in the order in which they are written. */
const result: Fields<Omit<ResultHead, 'key' | 'stamp' | 'url' | 'path' | 'host'>> = {
  tags: strings,
  storedAt: finite,
  freshUntil: finite,
  staleWhileRevalidate: secondsCodec,
  staleIfError: secondsCodec,
};

const resultInOrder = Object.entries<Field<unknown>>(result);

export function writeResultFields(item: ResultHead, times: ServerTimes): readonly unknown[] {
  const { tags, staleWhileRevalidate, staleIfError } = item;
  return [tags, times.storedAt, times.freshUntil, staleWhileRevalidate, staleIfError];
}

/** Reads the result of `writeResultFields`. */
export function readResultFields(
  written: readonly unknown[],
): { -readonly [Name in keyof typeof result]: ResultHead[Name] } | undefined {
  return decodeList(resultInOrder, written) as ReturnType<typeof readResultFields>;
}

/** Maximum number of characters of interned forms. */
const MOST_REMEMBERED = 128 * 1024;

/** Reads forms, and returns the same object for the same text. */
export class Forms {
  readonly #known = new InternTable<ResponseForm | undefined>(MOST_REMEMBERED);

  /**
   * @param text JSON in UTF-8, each byte as one character.
   * @returns `undefined` if the text is not a form.
   */
  read(text: string): ResponseForm | undefined {
    return this.#known.get(text, () => readForm(parsed(Buffer.from(text, 'latin1').toString('utf8'))));
  }
}

function readForm(written: unknown): ResponseForm | undefined {
  const read = decodeFields(form, written);
  return read && { variance: undefined, ...read };
}

/** Parses JSON; `undefined` for anything malformed. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
