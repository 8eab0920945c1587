import type { OwnCopy } from './own-copy.js';
import { binaryNameOf, bytesOfBinary, MAX_DEPTH, makeBinary } from './value-kind.js';

/*
 * A value in Redis:
 *
 *   0   1  form: JSON, or JSON with tags
 *   1   4  length of the JSON, big-endian
 *   5      the JSON in UTF-8, then the bytes of binary values
 *
 * With tags, every array of the JSON begins with a number that says what it stands for. Objects, strings, booleans,
 * `null` and plain numbers stand for themselves.
 */
const HEAD = 5;
const form = { json: 0, tagged: 1 } as const;

/** The meaning of an array of tagged JSON, by its first item. */
const tag = {
  /** Items follow; a run of holes is `[hole, count]`. */
  array: 0,
  hole: 1,
  undefined: 2,
  /** `NaN`, `Infinity`, `-Infinity` or `-0`. */
  number: 3,
  bigint: 4,
  /** Milliseconds, or `null` for an invalid date. */
  date: 5,
  /** Keys and values in turn. */
  map: 6,
  set: 7,
  /** Name and length; the bytes follow the JSON, in order. */
  binary: 8,
  /** An object without a prototype. */
  bare: 9,
  /** The object with this number, counted in the order in which objects begin. */
  reference: 10,
} as const;

/** Encodes a value that `makeOwnCopy` has checked. */
export function encodeValue({ value, isJson }: OwnCopy): Buffer {
  const writer = new TaggedWriter();
  const json = Buffer.from(JSON.stringify(isJson ? value : writer.write(value)));
  const head = Buffer.alloc(HEAD);
  head[0] = isJson ? form.json : form.tagged;
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json, ...writer.binaries]);
}

/** Decodes a value without trusting its bytes; `undefined` if they are malformed. */
export function decodeValue(bytes: Buffer): { readonly value: unknown } | undefined {
  if (bytes.length < HEAD) return undefined;
  const end = HEAD + bytes.readUInt32BE(1);
  if (end > bytes.length) return undefined;
  try {
    const json: unknown = JSON.parse(bytes.toString('utf8', HEAD, end));
    if (bytes[0] === form.json) return end === bytes.length ? { value: json } : undefined;
    if (bytes[0] !== form.tagged) return undefined;
    const reader = new TaggedReader(bytes.subarray(end));
    const value = reader.read(json, 0);
    return reader.isAtEnd ? { value } : undefined;
  } catch {
    return undefined;
  }
}

class TaggedWriter {
  readonly binaries: Buffer[] = [];
  readonly #numbers = new Map<object, number>();

  write(value: unknown): unknown {
    if (typeof value === 'object' && value !== null) return this.#writeObject(value);
    if (value === undefined) return [tag.undefined];
    if (typeof value === 'bigint') return [tag.bigint, String(value)];
    if (typeof value !== 'number' || (Number.isFinite(value) && !Object.is(value, -0))) return value;
    return [tag.number, Object.is(value, -0) ? '-0' : String(value)];
  }

  #writeObject(value: object): unknown {
    const known = this.#numbers.get(value);
    if (known !== undefined) return [tag.reference, known];
    this.#numbers.set(value, this.#numbers.size);
    if (Array.isArray(value)) return this.#writeArray(value);
    if (value instanceof Date) {
      const time = value.getTime();
      return [tag.date, Number.isNaN(time) ? null : time];
    }
    if (value instanceof Map) {
      return [tag.map, ...[...value].flatMap(([key, item]) => [this.write(key), this.write(item)])];
    }
    if (value instanceof Set) return [tag.set, ...Array.from(value, (item) => this.write(item))];
    const prototype: object | null = Object.getPrototypeOf(value);
    if (prototype !== null && prototype !== Object.prototype) {
      const bytes = bytesOfBinary(value);
      this.binaries.push(bytes);
      return [tag.binary, binaryNameOf(value), bytes.length];
    }
    const written = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.write(item)]));
    return prototype === null ? [tag.bare, written] : written;
  }

  #writeArray(value: readonly unknown[]): unknown {
    const written: unknown[] = [tag.array];
    let holes = 0;
    for (let at = 0; at < value.length; at++) {
      if (Object.hasOwn(value, at)) {
        if (holes > 0) written.push([tag.hole, holes]);
        holes = 0;
        written.push(this.write(value[at]));
      } else holes++;
    }
    if (holes > 0) written.push([tag.hole, holes]);
    return written;
  }
}

class TaggedReader {
  readonly #bytes: Buffer;
  readonly #objects: object[] = [];
  #at = 0;
  #slots = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws if the text is malformed. */
  read(written: unknown, depth: number): unknown {
    if (depth > MAX_DEPTH) throw malformed();
    if (typeof written !== 'object' || written === null) return written;
    if (!Array.isArray(written))
      return this.#readProperties(this.#begin(written as Record<string, unknown>), depth);
    const [kind, first] = written as readonly unknown[];
    switch (kind) {
      case tag.array:
        return this.#readArray(written, depth);
      case tag.undefined:
        return undefined;
      case tag.number:
        return readNumber(first);
      case tag.bigint:
        return BigInt(textOf(first));
      case tag.date:
        return this.#begin(new Date(first === null ? Number.NaN : Number(first)));
      case tag.map:
        return this.#readMap(written, depth);
      case tag.set:
        return this.#readSet(written, depth);
      case tag.binary:
        return this.#begin(this.#readBinary(textOf(first), Number(written[2])));
      case tag.bare:
        if (typeof first !== 'object' || first === null || Array.isArray(first)) throw malformed();
        return this.#readProperties(this.#begin(Object.setPrototypeOf(first, null)), depth);
      case tag.reference:
        return this.#objects[Number(first)] ?? fail();
      default:
        throw malformed();
    }
  }

  /** In place, because `JSON.parse` made the object, with `__proto__` as an own property. */
  #readProperties(object: Record<string, unknown>, depth: number): object {
    for (const name of Object.keys(object)) object[name] = this.read(object[name], depth + 1);
    return object;
  }

  #readArray(written: readonly unknown[], depth: number): unknown[] {
    const array = this.#begin<unknown[]>([]);
    let at = 0;
    for (const item of written.slice(1)) {
      if (Array.isArray(item) && item[0] === tag.hole) {
        const count = Number(item[1]);
        this.#slots += count;
        // Written from memory, where holes count too. More would be foreign bytes that ask for any size.
        if (!Number.isSafeInteger(count) || count < 1 || this.#slots > MOST_HOLES) throw malformed();
        at += count;
      } else array[at++] = this.read(item, depth + 1);
    }
    array.length = at;
    return array;
  }

  #readMap(written: readonly unknown[], depth: number): Map<unknown, unknown> {
    if (written.length % 2 === 0) throw malformed();
    const map = this.#begin(new Map<unknown, unknown>());
    for (let at = 1; at < written.length; at += 2) {
      const key = this.read(written[at], depth + 1);
      map.set(key, this.read(written[at + 1], depth + 1));
    }
    return map;
  }

  #readSet(written: readonly unknown[], depth: number): Set<unknown> {
    const set = this.#begin(new Set<unknown>());
    for (const item of written.slice(1)) set.add(this.read(item, depth + 1));
    return set;
  }

  #readBinary(name: string, length: number): object {
    const end = this.#at + length;
    if (!Number.isSafeInteger(length) || length < 0 || end > this.#bytes.length) throw malformed();
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return makeBinary(name, bytes) ?? fail();
  }

  #begin<Value extends object>(object: Value): Value {
    this.#objects.push(object);
    return object;
  }
}

/** As many as the largest entry holds. */
const MOST_HOLES = 2 ** 27;

const numbers: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
  '-0': -0,
};

function readNumber(text: unknown): number {
  return Object.hasOwn(numbers, textOf(text)) ? numbers[textOf(text)]! : fail();
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : fail();
}

function fail(): never {
  throw malformed();
}

function malformed(): Error {
  return new Error('malformed value');
}
