import type { ServerResponse } from 'node:http';
import { EXCHANGE } from './patch.js';

/** The owner of a value: an object, or a `Symbol.for` if two copies of the package share it. */
export type DataOwner = object | symbol;

/** One owner's value on an exchange. */
export interface ExchangeData {
  readonly owner: DataOwner;
  value: unknown;
  readonly next: ExchangeData | undefined;
}

/** Finds the value of an owner. There is at most one per middleware, so the list is short. */
export function findData(first: ExchangeData | undefined, owner: DataOwner): ExchangeData | undefined {
  for (let at = first; at; at = at.next) if (at.owner === owner) return at;
  return undefined;
}

/**
 * Reads a value from this response's exchange, if it has one.
 *
 * Values are not kept on the response itself: Express changes its prototype. A new property on such an object costs V8
 * a hidden class of its own, 1.5 kB and 1.5 µs each time.
 */
export function dataOn(res: ServerResponse, owner: DataOwner): unknown {
  const { [EXCHANGE]: exchange } = res as { [EXCHANGE]?: { dataOf(owner: DataOwner): unknown } };
  return exchange?.dataOf(owner);
}
