import { types } from 'node:util';

/** The kinds of objects that keys and stored results can hold. `bare`: an object without a prototype. */
export type ValueKind = 'plain' | 'bare' | 'array' | 'date' | 'map' | 'set' | 'binary';

/** A value that a key or a stored result cannot hold. */
export class ValueProblem extends Error {
  /** The path to it, as written in code, such as `[0].items[2]`; empty for the value itself. */
  readonly path: string;
  /** The kind of value, such as `a function`. */
  readonly reason: string;

  constructor(path: string, reason: string) {
    const shown = path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path;
    super(shown === '' ? reason : `${shown} is ${reason}`);
    this.path = shown;
    this.reason = reason;
  }
}

/** Of a value that contains itself. Characters. */
const LONGEST_PATH = 120;

type BinaryConstructor = new (buffer: ArrayBuffer) => object;

/** The binary types that are copied, by name. `Buffer` has a constructor of another form. */
export const binaryTypes: ReadonlyMap<string, BinaryConstructor> = new Map(
  [
    ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array],
    ...[Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView],
    ...[(globalThis as { Float16Array?: BinaryConstructor }).Float16Array ?? []].flat(),
  ].map((type) => [type.name, type as BinaryConstructor]),
);

/** Deeper values would overflow the stack. */
export const MAX_DEPTH = 500;

/** The kind of an object; `undefined` for class instances, functions, proxies and all others. */
export function kindOf(value: object): ValueKind | undefined {
  // First, because a proxy runs code of the app whenever it is read.
  if (types.isProxy(value)) return undefined;
  const prototype: object | null = Object.getPrototypeOf(value);
  if (prototype === null) return types.isModuleNamespaceObject(value) ? undefined : 'bare';
  if (prototype === Object.prototype) return isBuiltIn(value) ? undefined : 'plain';
  if (Array.isArray(value)) return isBase(prototype, Array.prototype, 2) ? 'array' : undefined;
  if (types.isDate(value)) return isBase(prototype, Date.prototype, 2) && isPure(value) ? 'date' : undefined;
  if (types.isMap(value)) return isBase(prototype, Map.prototype, 2) && isPure(value) ? 'map' : undefined;
  if (types.isSet(value)) return isBase(prototype, Set.prototype, 2) && isPure(value) ? 'set' : undefined;
  if (ArrayBuffer.isView(value) || types.isArrayBuffer(value))
    return binaryNameOf(value) ? 'binary' : undefined;
  // An object literal of another realm, such as a `vm` context.
  const isForeign = Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf');
  return isForeign && !isBuiltIn(value) ? 'plain' : undefined;
}

/** `Buffer`, `ArrayBuffer` or the name of a view; `undefined` for a subclass. */
export function binaryNameOf(value: object): string | undefined {
  const prototype: object = Object.getPrototypeOf(value);
  if (Buffer.isBuffer(value)) return prototype === Buffer.prototype ? 'Buffer' : undefined;
  if (types.isArrayBuffer(value))
    return isBase(prototype, ArrayBuffer.prototype, 2) ? 'ArrayBuffer' : undefined;
  const name = types.isDataView(value) ? 'DataView' : (value as Uint8Array)[Symbol.toStringTag];
  const type = binaryTypes.get(name);
  return type && isBase(prototype, type.prototype, name === 'DataView' ? 2 : 3) ? name : undefined;
}

/** The bytes of a binary value, in the memory of that value. */
export function bytesOfBinary(value: object): Buffer {
  return ArrayBuffer.isView(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : Buffer.from(value as ArrayBuffer);
}

/** Makes a binary value of a kind. @param bytes are copied. @returns `undefined` for an unknown kind. */
export function makeBinary(name: string, bytes: Buffer): object | undefined {
  // Memory of its own, because `buffer.buffer` of a pooled one has those of others too.
  const copy = new Uint8Array(bytes).buffer;
  if (name === 'Buffer') return Buffer.from(copy);
  if (name === 'ArrayBuffer') return copy;
  const type = binaryTypes.get(name);
  return type && new type(copy);
}

/** Whether an object has properties beside those that `Object.keys` lists. */
export function hasSymbols(value: object): boolean {
  return Object.getOwnPropertySymbols(value).some((symbol) =>
    Object.prototype.propertyIsEnumerable.call(value, symbol),
  );
}

/** Describes a value that is not accepted. */
export function describeKind(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'symbol') return 'a symbol';
  if (typeof value !== 'object' || value === null) return `a ${typeof value}`;
  if (types.isProxy(value)) return 'a proxy';
  if (types.isPromise(value)) return 'a promise';
  const name: unknown = value.constructor?.name;
  return `an instance of ${typeof name === 'string' && name !== '' ? name : 'an unnamed class'}`;
}

/** Whether a prototype is that of the built-in type, of any realm, and not of a subclass. */
function isBase(prototype: object, base: object, depth: number): boolean {
  if (prototype === base) return true;
  let levels = 0;
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at)) levels++;
  return levels === depth && Object.hasOwn(prototype, 'constructor');
}

/** Whether an object has no properties of its own beside its content. */
function isPure(value: object): boolean {
  return Reflect.ownKeys(value).length === 0;
}

/** Whether an object with the prototype of a literal is a namespace, such as `Math`. */
function isBuiltIn(value: object): boolean {
  return Symbol.toStringTag in value;
}
