import type { Reuse, StoredField } from '../../stored-response.js';

/** Times of an entry on the clock that instances share, and back. Milliseconds; `NaN` where that is not possible. */
export interface SharedTimes {
  toShared(local: number): number;
  fromShared(shared: number): number;
}

/** How one field travels: as JSON, checked in full when it comes back. */
export interface Field<T> {
  /** The value for JSON; absent where it travels as it is. */
  write?(value: T): unknown;
  /** The value, if that is what was read; else `undefined`. */
  read(value: unknown): T | undefined;
  readonly optional?: true;
}

/** How all of them travel. */
export type Fields<T> = { readonly [Name in keyof T]-?: Field<NonNullable<T[Name]>> };

/** Most strings in a list. */
const MOST = 10_000;

export const string: Field<string> = { read: (value) => (typeof value === 'string' ? value : undefined) };

export const boolean: Field<boolean> = { read: (value) => (typeof value === 'boolean' ? value : undefined) };

export const secondsCodec: Field<number> = {
  read: (value) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined),
};

/** A time on the shared clock to the millisecond, downwards: what is rounded must not live longer for it. */
export function timeCodec(local: number, times: SharedTimes): number {
  return Math.floor(times.toShared(local));
}

/** What `timeOf` wrote, on our clock; `undefined` for what is no time, or can't be told. */
export function localTimeCodec(written: unknown, times: SharedTimes): number | undefined {
  const local = typeof written === 'number' ? times.fromShared(written) : Number.NaN;
  return Number.isFinite(local) ? local : undefined;
}

export const status: Field<number> = {
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599 ? value : undefined,
};

/** A field value as Node takes it: nothing that could end a line (RFC 9110 §5.5). */
export const fieldValue: Field<string> = {
  read: (value) => (typeof value === 'string' && !/[^\t\x20-\x7e\x80-\xff]/.test(value) ? value : undefined),
};

/** RFC 9110 §5.1: a token. */
const fieldName: Field<string> = {
  read: (value) => (typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? value : undefined),
};

export const fieldNamesCodec = listCodec(fieldName);

/** What is on the lines of one header field. */
export const fieldLines: Field<StoredField[1]> = {
  read: (value) => (typeof value === 'string' ? fieldValue.read(value) : fieldValues.read(value)),
};

const fieldValues = listCodec(fieldValue);

/** Fields that are written for each answer, never stored: believed, they would break the connection's framing. */
const framing = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Names of the header fields of a stored response. */
export const storedNames: Field<readonly string[]> = {
  read(value) {
    const names = fieldNamesCodec.read(value);
    return names?.some((name) => framing.has(name.toLowerCase())) ? undefined : names;
  },
};

export const reuse: Field<Reuse> = {
  write: (value) => [
    value.alwaysValidate,
    value.mustRevalidate,
    value.staleWhileRevalidate,
    value.staleIfError,
  ],
  read(value) {
    if (!Array.isArray(value) || value.length !== 4) return undefined;
    const alwaysValidate = boolean.read(value[0]);
    const mustRevalidate = boolean.read(value[1]);
    const staleWhileRevalidate = secondsCodec.read(value[2]);
    const staleIfError = secondsCodec.read(value[3]);
    if (alwaysValidate === undefined || mustRevalidate === undefined) return undefined;
    if (staleWhileRevalidate === undefined || staleIfError === undefined) return undefined;
    return { alwaysValidate, mustRevalidate, staleWhileRevalidate, staleIfError };
  },
};

export function listCodec<T>(field: Field<T>): Field<readonly T[]> {
  return {
    read(value) {
      if (!Array.isArray(value) || value.length > MOST) return undefined;
      const read: T[] = [];
      for (const part of value) {
        const one = field.read(part);
        if (one === undefined) return undefined;
        read.push(one);
      }
      return read;
    },
  };
}

export function optional<T>(field: Field<T>): Field<T> {
  return { ...field, optional: true };
}

/** Fields for JSON. */
export function encodeFields<T extends object>(fields: Fields<T>, given: T): Record<string, unknown> {
  const written: Record<string, unknown> = {};
  for (const name in fields) {
    const field: Field<unknown> = fields[name];
    const value = given[name];
    if (value !== undefined) written[name] = field.write ? field.write(value) : value;
  }
  return written;
}

/**
 * What `writeFields` wrote, checked: every field that is required, none that is unknown, each of its own form.
 * A field that we don't know may restrict what we would then do, so it is not passed over.
 */
export function decodeFields<T extends object>(fields: Fields<T>, written: unknown): T | undefined {
  if (!isObject(written)) return undefined;
  const table = new Map<string, Field<unknown>>(Object.entries(fields));
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(written)) {
    const checked = table.get(name)?.read(value);
    // `__proto__` from JSON is a name like any other here: in no table.
    if (checked === undefined) return undefined;
    read[name] = checked;
  }
  for (const [name, field] of table) if (!field.optional && read[name] === undefined) return undefined;
  return read as T;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
