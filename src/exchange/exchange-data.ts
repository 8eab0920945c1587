import type { ServerResponse } from 'node:http';
import { EXCHANGE } from './patch.js';

/** Whose a note is: an object, or a `Symbol.for` where two copies of the package share it. */
export type DataOwner = object | symbol;

/** What one owner has noted of an exchange. */
export interface ExchangeData {
  readonly owner: DataOwner;
  value: unknown;
  readonly next: ExchangeData | undefined;
}

/** The note of an owner. There are as many as middlewares, so few. */
export function findData(first: ExchangeData | undefined, owner: DataOwner): ExchangeData | undefined {
  for (let at = first; at; at = at.next) if (at.owner === owner) return at;
  return undefined;
}

/**
 * What is noted of this response's exchange, if it has one.
 *
 * Why there and not on the response: Express changes the prototype of each, and to add a property to an object
 * whose prototype was changed costs V8 a hidden class of its own, 1.5 kB and 1.5 µs each time.
 */
export function dataOn(res: ServerResponse, owner: DataOwner): unknown {
  const { [EXCHANGE]: exchange } = res as { [EXCHANGE]?: { dataOf(owner: DataOwner): unknown } };
  return exchange?.dataOf(owner);
}
