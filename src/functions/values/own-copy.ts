import { joinPath } from '../../options/format-value.js';
import { bytesOf } from '../../store/stored-response.js';
import {
  binaryNameOf,
  bytesOfBinary,
  describeKind,
  hasSymbols,
  kindOf,
  MAX_DEPTH,
  makeBinary,
  ValueProblem,
} from './value-kind.js';

/** A copy of a result that belongs to the cache. */
export interface OwnCopy {
  readonly value: unknown;
  /** Estimated memory in bytes. */
  readonly bytes: number;
  /** No object occurs twice in it. */
  readonly isTree: boolean;
  /** JSON can hold it unchanged. */
  readonly isJson: boolean;
  /** `Object.freeze` makes all of it immutable: it holds no Date, Map, Set or binary value. */
  readonly isFreezable: boolean;
}

/** Estimated memory of a value's parts. Bytes. */
const SIZE_OF_STRING = 24;
const SIZE_OF_OBJECT = 56;
const SIZE_OF_SLOT = 8;
const SIZE_OF_ENTRY = 40;
const SIZE_OF_BINARY = 120;

/**
 * Copies a result, with its holes, its shared references and its cycles.
 *
 * @param freezes also freezes the copy.
 * @throws ValueProblem with the path of the first value that cannot be stored, or if the result is too large.
 */
export function makeOwnCopy(value: unknown, maxBytes: number, freezes = false): OwnCopy {
  const copier = new Copier(maxBytes, freezes);
  const copy = copier.copyAt('', value);
  const { bytes, isTree, isJson, isFreezable } = copier;
  return { value: copy, bytes, isTree, isJson, isFreezable };
}

/** Sets an own property, also one of the name `__proto__`. */
export function setOwn(target: object, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
  } else (target as Record<string, unknown>)[name] = value;
}

class Copier {
  bytes = 0;
  isTree = true;
  isJson = true;
  isFreezable = true;
  readonly #maxBytes: number;
  readonly #freezes: boolean;
  readonly #copies = new Map<object, object>();
  readonly #path: (string | number)[] = [];

  constructor(maxBytes: number, freezes: boolean) {
    this.#maxBytes = maxBytes;
    this.#freezes = freezes;
  }

  copyAt(step: string | number, value: unknown): unknown {
    if (typeof value === 'object' && value !== null) {
      this.#path.push(step);
      const copy = this.#copyObject(value);
      this.#path.pop();
      return copy;
    }
    if (typeof value === 'string') this.#add(SIZE_OF_STRING + bytesOf(value));
    else if (typeof value === 'number') {
      if (!Number.isFinite(value) || Object.is(value, -0)) this.isJson = false;
    } else if (value === undefined || typeof value === 'bigint') {
      this.isJson = false;
      if (typeof value === 'bigint') this.#add(SIZE_OF_STRING + Math.ceil(value.toString(16).length / 2));
    } else if (typeof value !== 'boolean' && value !== null) {
      this.#path.push(step);
      throw this.#problem(describeKind(value));
    }
    return value;
  }

  #copyObject(value: object): object {
    const known = this.#copies.get(value);
    if (known) {
      this.isTree = this.isJson = false;
      return known;
    }
    if (this.#path.length > MAX_DEPTH) throw this.#problem(`nested in more than ${MAX_DEPTH} levels`);
    const kind = kindOf(value);
    if (kind === 'plain') return this.#copyProperties(value, {});
    if (kind === 'array') return this.#copyArray(value as readonly unknown[]);
    this.isJson = false;
    if (kind === 'bare') return this.#copyProperties(value, Object.create(null));
    this.isFreezable = false;
    switch (kind) {
      case 'date':
        this.#add(SIZE_OF_OBJECT);
        return this.#keep(value, new Date((value as Date).getTime()));
      case 'map':
        return this.#copyMap(value as ReadonlyMap<unknown, unknown>);
      case 'set':
        return this.#copySet(value as ReadonlySet<unknown>);
      case 'binary': {
        const bytes = bytesOfBinary(value);
        this.#add(SIZE_OF_BINARY + bytes.length);
        return this.#keep(value, makeBinary(binaryNameOf(value)!, bytes)!);
      }
      default:
        throw this.#problem(describeKind(value));
    }
  }

  #copyProperties(value: object, copy: object): object {
    this.#keep(value, copy);
    const names = Object.keys(value);
    this.#add(SIZE_OF_OBJECT + names.length * SIZE_OF_SLOT);
    if (hasSymbols(value)) throw this.#problem('an object with symbols as keys');
    for (const name of names) setOwn(copy, name, this.copyAt(name, (value as Record<string, unknown>)[name]));
    return this.#freezes ? Object.freeze(copy) : copy;
  }

  #copyArray(value: readonly unknown[]): object {
    const { length } = value;
    // First, so that an array of four billion holes is not read.
    this.#add(SIZE_OF_OBJECT + length * SIZE_OF_SLOT);
    const copy: unknown[] = [];
    this.#keep(value, copy);
    let filled = 0;
    for (let at = 0; at < length; at++) {
      const item = value[at];
      if (item === undefined && !Object.hasOwn(value, at)) continue;
      copy[at] = this.copyAt(at, item);
      filled++;
    }
    copy.length = length;
    if (filled < length) this.isJson = false;
    if (Object.keys(value).length !== filled || hasSymbols(value))
      throw this.#problem('an array with further properties');
    return this.#freezes ? Object.freeze(copy) : copy;
  }

  #copyMap(value: ReadonlyMap<unknown, unknown>): object {
    const copy = new Map<unknown, unknown>();
    this.#keep(value, copy);
    this.#add(SIZE_OF_BINARY + value.size * SIZE_OF_ENTRY);
    let at = 0;
    for (const [key, item] of value) {
      copy.set(this.copyAt(at, key), this.copyAt(at, item));
      at++;
    }
    return copy;
  }

  #copySet(value: ReadonlySet<unknown>): object {
    const copy = new Set<unknown>();
    this.#keep(value, copy);
    this.#add(SIZE_OF_BINARY + value.size * SIZE_OF_ENTRY);
    let at = 0;
    for (const item of value) copy.add(this.copyAt(at++, item));
    return copy;
  }

  #keep<Copy extends object>(value: object, copy: Copy): Copy {
    this.#copies.set(value, copy);
    return copy;
  }

  #add(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes > this.#maxBytes) {
      this.#path.length = 0;
      throw this.#problem(`larger than ${this.#maxBytes} bytes (cache.maxEntryBytes)`);
    }
  }

  #problem(reason: string): ValueProblem {
    const [, ...steps] = this.#path;
    return new ValueProblem(steps.reduce<string>(joinPath, ''), reason);
  }
}
