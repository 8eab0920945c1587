import { binaryNameOf, bytesOfBinary, makeBinary } from './value-kind.js';

/**
 * Clones a value that `makeOwnCopy` has checked. Every hit pays for it, so it checks nothing again.
 *
 * @param isTree no object occurs twice in the value.
 */
export function cloneValue(value: unknown, isTree: boolean): unknown {
  return isTree ? cloneTree(value) : new GraphCloner().clone(value);
}

function cloneTree(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return cloneArray(value);
  const prototype: object | null = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) return cloneProperties(value);
  if (prototype === null) return cloneInto(Object.create(null), value);
  if (value instanceof Date) return new Date(value.getTime());
  if (value instanceof Map) {
    const copy = new Map<unknown, unknown>();
    for (const [key, item] of value) copy.set(cloneTree(key), cloneTree(item));
    return copy;
  }
  if (value instanceof Set) {
    const copy = new Set<unknown>();
    for (const item of value) copy.add(cloneTree(item));
    return copy;
  }
  return cloneBinary(value);
}

function cloneArray(value: readonly unknown[]): unknown[] {
  // Keeps holes.
  const copy = value.slice();
  for (let at = 0; at < copy.length; at++) {
    const item = copy[at];
    if (typeof item === 'object' && item !== null) copy[at] = cloneTree(item);
  }
  return copy;
}

/** A spread copies the hidden class, and an own `__proto__` as a property. */
function cloneProperties(value: object): object {
  const copy = { ...value } as Record<string, unknown>;
  for (const name in value) {
    const item = copy[name];
    if (typeof item === 'object' && item !== null && Object.hasOwn(copy, name)) copy[name] = cloneTree(item);
  }
  return copy;
}

function cloneInto(copy: Record<string, unknown>, value: object): object {
  for (const [name, item] of Object.entries(value)) copy[name] = cloneTree(item);
  return copy;
}

function cloneBinary(value: object): object {
  return makeBinary(binaryNameOf(value)!, bytesOfBinary(value))!;
}

/** Clones a value in which an object occurs twice, or contains itself. */
class GraphCloner {
  readonly #copies = new Map<object, object>();

  clone(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value;
    return this.#copies.get(value) ?? this.#cloneObject(value);
  }

  #cloneObject(value: object): object {
    if (Array.isArray(value)) {
      const copy = value.slice();
      this.#copies.set(value, copy);
      for (let at = 0; at < copy.length; at++) if (Object.hasOwn(copy, at)) copy[at] = this.clone(copy[at]);
      return copy;
    }
    if (value instanceof Map) {
      const copy = new Map<unknown, unknown>();
      this.#copies.set(value, copy);
      for (const [key, item] of value) copy.set(this.clone(key), this.clone(item));
      return copy;
    }
    if (value instanceof Set) {
      const copy = new Set<unknown>();
      this.#copies.set(value, copy);
      for (const item of value) copy.add(this.clone(item));
      return copy;
    }
    const prototype: object | null = Object.getPrototypeOf(value);
    if (prototype !== null && prototype !== Object.prototype) {
      const copy = cloneTree(value) as object;
      this.#copies.set(value, copy);
      return copy;
    }
    // Own properties, so that assigning to `__proto__` changes a property.
    const copy: Record<string, unknown> =
      prototype === null ? Object.assign(Object.create(null), value) : { ...value };
    this.#copies.set(value, copy);
    for (const name of Object.keys(copy)) copy[name] = this.clone(copy[name]);
    return copy;
  }
}
