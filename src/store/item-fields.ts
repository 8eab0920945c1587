import type { Reuse, StoredField, StoredResponse, VariantIndex } from './entry.js';

/** Times of an entry on the clock that instances share, and back. Milliseconds; `NaN` where that is not possible. */
export interface SharedTimes {
  toShared(local: number): number;
  fromShared(shared: number): number;
}

/** How one field travels: as JSON, checked in full when it comes back. */
interface Field<T> {
  /** The value for JSON; absent where it travels as it is. */
  write?(value: T, times: SharedTimes): unknown;
  /** The value, if that is what was read; else `undefined`. */
  read(value: unknown, times: SharedTimes): T | undefined;
  readonly optional?: true;
}

type Fields<T> = { readonly [Name in keyof T]-?: Field<NonNullable<T[Name]>> };

/** Most strings in a list. */
const MOST = 10_000;

const string: Field<string> = { read: (value) => (typeof value === 'string' ? value : undefined) };
const boolean: Field<boolean> = { read: (value) => (typeof value === 'boolean' ? value : undefined) };
const seconds: Field<number> = {
  read: (value) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined),
};

/** On the shared clock to the millisecond, downwards: what is rounded must not live longer for it. */
const time: Field<number> = {
  write: (value, times) => Math.floor(times.toShared(value)),
  read: (value, times) => {
    const local = typeof value === 'number' ? times.fromShared(value) : Number.NaN;
    return Number.isFinite(local) ? local : undefined;
  },
};

const status: Field<number> = {
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599 ? value : undefined,
};

/** A field value as Node takes it: nothing that could end a line (RFC 9110 §5.5). */
const fieldValue: Field<string> = {
  read: (value) => (typeof value === 'string' && !/[^\t\x20-\x7e\x80-\xff]/.test(value) ? value : undefined),
};

/** RFC 9110 §5.1: a token. */
const fieldName: Field<string> = {
  read: (value) => (typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? value : undefined),
};

function listOf<T>(field: Field<T>): Field<readonly T[]> {
  return {
    read(value, times) {
      if (!Array.isArray(value) || value.length > MOST) return undefined;
      const read: T[] = [];
      for (const part of value) {
        const one = field.read(part, times);
        if (one === undefined) return undefined;
        read.push(one);
      }
      return read;
    },
  };
}

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

const fieldValues = listOf(fieldValue);

const header: Field<StoredField> = {
  read(value, times) {
    if (!Array.isArray(value) || value.length !== 2) return undefined;
    const name = fieldName.read(value[0], times);
    const lines = Array.isArray(value[1])
      ? fieldValues.read(value[1], times)
      : fieldValue.read(value[1], times);
    if (name === undefined || lines === undefined || framing.has(name.toLowerCase())) return undefined;
    return [name, lines];
  },
};

const reuse: Field<Reuse> = {
  write: (value) => [
    value.alwaysValidate,
    value.mustRevalidate,
    value.staleWhileRevalidate,
    value.staleIfError,
  ],
  read(value, times) {
    if (!Array.isArray(value) || value.length !== 4) return undefined;
    const alwaysValidate = boolean.read(value[0], times);
    const mustRevalidate = boolean.read(value[1], times);
    const staleWhileRevalidate = seconds.read(value[2], times);
    const staleIfError = seconds.read(value[3], times);
    if (alwaysValidate === undefined || mustRevalidate === undefined) return undefined;
    if (staleWhileRevalidate === undefined || staleIfError === undefined) return undefined;
    return { alwaysValidate, mustRevalidate, staleWhileRevalidate, staleIfError };
  },
};

function optional<T>(field: Field<T>): Field<T> {
  return { ...field, optional: true };
}

/**
 * Every field of a response but for what travels beside (key, body, stamp) and `variance`: responses that have
 * it stay where they are. What is not in the table does not
 * travel, so a field that is added to `StoredResponse` must be added here, and the compiler says so.
 */
const responseFields: Fields<
  Omit<StoredResponse, 'kind' | 'key' | 'body' | 'encoded' | 'prepared' | 'stamp' | 'since' | 'variance'>
> = {
  url: string,
  path: string,
  tags: listOf(string),
  vary: listOf(fieldName),
  status,
  headers: listOf(header),
  removed: listOf(fieldName),
  etag: fieldValue,
  ownEtag: boolean,
  lastModified: optional(fieldValue),
  date: fieldValue,
  storedAt: time,
  initialAge: seconds,
  freshUntil: time,
  reuse,
  explicitlyShared: boolean,
  anyOrigin: optional(boolean),
  upstream: optional(boolean),
  template: optional(string),
};

const variantsFields: Fields<Omit<VariantIndex, 'kind'>> = { names: listOf(fieldName), keys: listOf(string) };

const tables = {
  response: new Map<string, Field<unknown>>(Object.entries(responseFields as Fields<object>)),
  variants: new Map<string, Field<unknown>>(Object.entries(variantsFields as Fields<object>)),
} as const;

export type ItemKind = keyof typeof tables;

/** The fields of an item for JSON. */
export function writeFields(kind: ItemKind, item: object, times: SharedTimes): Record<string, unknown> {
  const given = item as Record<string, unknown>;
  const written: Record<string, unknown> = {};
  for (const [name, field] of tables[kind]) {
    const value = given[name];
    if (value !== undefined) written[name] = field.write ? field.write(value, times) : value;
  }
  return written;
}

/**
 * What `writeFields` wrote, checked: every field that is required, none that is unknown, each of its own form.
 * A field that we don't know may restrict what we would then do, so it is not passed over.
 */
export function readFields(kind: ItemKind, written: unknown, times: SharedTimes): object | undefined {
  if (typeof written !== 'object' || written === null || Array.isArray(written)) return undefined;
  const table = tables[kind];
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(written)) {
    const field = table.get(name);
    const checked = field?.read(value, times);
    // `__proto__` from JSON is a name like any other here: in no table.
    if (checked === undefined) return undefined;
    read[name] = checked;
  }
  for (const [name, field] of table) if (!field.optional && read[name] === undefined) return undefined;
  return read;
}
