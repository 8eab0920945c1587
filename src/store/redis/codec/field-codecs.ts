import type { Reuse, StoredField } from '../../stored-response.js';

/**
 * Converts times of an entry to the clock of the Redis server and back. Milliseconds; `NaN` if that is
 * impossible.
 */
export interface SharedTimes {
  toShared(local: number): number;
  fromShared(shared: number): number;
}

/** The codec of one field: JSON, fully checked on reading. */
export interface Field<T> {
  /** Converts the value for JSON; absent if JSON can hold it unchanged. */
  write?(value: T): unknown;
  /** Returns the value if it is valid, else `undefined`. */
  read(value: unknown): T | undefined;
  readonly optional?: true;
}

/** The codecs of all fields. */
export type Fields<T> = { readonly [Name in keyof T]-?: Field<NonNullable<T[Name]>> };

/** Maximum number of strings in a list. */
const MOST = 10_000;

export const string: Field<string> = { read: (value) => (typeof value === 'string' ? value : undefined) };

export const boolean: Field<boolean> = { read: (value) => (typeof value === 'boolean' ? value : undefined) };

export const secondsCodec: Field<number> = {
  read: (value) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined),
};

export const finite: Field<number> = {
  read: (value) => (typeof value === 'number' && Number.isFinite(value) ? value : undefined),
};

export const status: Field<number> = {
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599 ? value : undefined,
};

/** A field value that Node accepts: it contains no line end (RFC 9110 §5.5). */
export const fieldValue: Field<string> = {
  read: (value) => (typeof value === 'string' && !/[^\t\x20-\x7e\x80-\xff]/.test(value) ? value : undefined),
};

/** A token (RFC 9110 §5.1). */
const fieldName: Field<string> = {
  read: (value) => (typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? value : undefined),
};

export const fieldNamesCodec = listCodec(fieldName);

/** The values of one header field, one per line. */
export const fieldLines: Field<StoredField[1]> = {
  read: (value) => (typeof value === 'string' ? fieldValue.read(value) : fieldValues.read(value)),
};

const fieldValues = listCodec(fieldValue);

/**
 * Fields that Node writes for each response and that are never stored. From Redis, they could break the
 * framing.
 */
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

/** Encodes fields for JSON, without those that are absent. */
export function encodeFields<T extends object>(
  fields: Fields<T>,
  read: (name: keyof T) => unknown,
): Record<string, unknown> {
  const values = Object.entries<Field<unknown>>(fields).map(([name, field]) => [
    name,
    encode(field, read(name as keyof T)),
  ]);
  return Object.fromEntries(values);
}

/**
 * Decodes the result of `encodeFields`. Every required field must be present and every value valid. An unknown field
 * makes the result invalid, because it may restrict the use of the entry.
 */
export function decodeFields<T extends object>(fields: Fields<T>, written: unknown): T | undefined {
  if (!isObject(written)) return undefined;
  // `__proto__` from JSON is an unknown name here, like any other.
  if (!Object.keys(written).every((name) => Object.hasOwn(fields, name))) return undefined;
  const read: Record<string, unknown> = {};
  for (const [name, field] of Object.entries<Field<unknown>>(fields)) {
    const value = Object.hasOwn(written, name) ? field.read(written[name]) : undefined;
    if (value === undefined && (Object.hasOwn(written, name) || !field.optional)) return undefined;
    read[name] = value;
  }
  return read as T;
}

/** Decodes a list of fields in their order. Every value is checked, and there must be no others. */
export function decodeList(
  fields: readonly (readonly [name: string, field: Field<unknown>])[],
  written: readonly unknown[],
): Record<string, unknown> | undefined {
  if (written.length !== fields.length) return undefined;
  const read: Record<string, unknown> = {};
  for (let at = 0; at < fields.length; at++) {
    const [name, field] = fields[at]!;
    const value = field.read(written[at]);
    if (value === undefined && !(field.optional && written[at] === null)) return undefined;
    read[name] = value;
  }
  return read;
}

function encode(field: Field<unknown>, value: unknown): unknown {
  return value !== undefined && field.write ? field.write(value) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
