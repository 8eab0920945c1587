import { describe, expect, it } from 'vitest';
import { decideReuse, type Permission } from '../../../src/cache/lookup/reuse.js';
import { parseRequestDirectives } from '../../../src/http/request-directives.js';
import type { Reuse, StoredResponse } from '../../../src/store/stored-response.js';

const NOW = 1_000_000;
const UNLIMITED = Number.POSITIVE_INFINITY;

interface Given extends Partial<Reuse> {
  /** Seconds until the response is stale; it was stored 100 seconds ago. */
  readonly left: number;
  readonly request?: string;
  readonly initialAge?: number;
  /** The end of freshness that the invalidation log sets, from now. Seconds. */
  readonly limit?: number;
}

function permissionOf({ left, request, initialAge = 0, limit, ...reuse }: Given): Permission {
  const entry = {
    storedAt: NOW - 100_000,
    freshUntil: NOW + left * 1000,
    initialAge,
    reuse: {
      alwaysValidate: false,
      mustRevalidate: false,
      staleWhileRevalidate: 0,
      staleIfError: 0,
      ...reuse,
    },
  } as StoredResponse;
  const directives = request === undefined ? undefined : parseRequestDirectives(request, undefined);
  return decideReuse(entry, limit === undefined ? UNLIMITED : NOW + limit * 1000, NOW, directives);
}

describe('the reuse of a stored response', () => {
  const windows = { staleWhileRevalidate: 10, staleIfError: 20 };

  it.each<[what: string, given: Given, expected: Permission]>([
    ['that is fresh', { left: 0.001 }, 'fresh'],
    ['whose lifetime has just ended', { left: 0 }, 'validate'],
    ['with no-cache, though it is fresh', { left: 60, alwaysValidate: true }, 'validate'],
    ['with no-cache, within its windows', { left: -1, alwaysValidate: true, ...windows }, 'validate'],
    ['at the start of stale-while-revalidate', { left: 0, ...windows }, 'while-revalidate'],
    ['at the end of stale-while-revalidate', { left: -9.999, ...windows }, 'while-revalidate'],
    ['after stale-while-revalidate', { left: -10, ...windows }, 'if-error'],
    ['after stale-if-error', { left: -20, ...windows }, 'validate'],
    ['with a window of 0 for errors', { left: 0, staleIfError: 0 }, 'validate'],
    ['with must-revalidate, within its windows', { left: -1, mustRevalidate: true, ...windows }, 'validate'],
    ['with must-revalidate, fresh', { left: 1, mustRevalidate: true }, 'fresh'],
    ['that was expired', { left: 60, limit: 0 }, 'validate'],
    ['that was expired, within its windows', { left: 60, limit: -1, ...windows }, 'while-revalidate'],
    ['that a later expiry will end', { left: 60, limit: 1 }, 'fresh'],
  ])('%s', (_what, given, expected) => {
    expect(permissionOf(given)).toBe(expected);
  });

  it.each<[request: string, what: string, given: Given, expected: Permission]>([
    ['no-cache', 'a fresh response', { left: 60 }, 'validate'],
    ['no-cache', 'a stale response', { left: -1, ...windows }, 'validate'],
    ['max-age=100', 'a response of that age', { left: 60 }, 'fresh'],
    ['max-age=99', 'an older response', { left: 60 }, 'validate'],
    ['max-age=109', 'one that was old when it was stored', { left: 60, initialAge: 10 }, 'validate'],
    ['max-age=1000', 'a stale response', { left: -1, ...windows }, 'validate'],
    ['min-fresh=60', 'one that is fresh for so long', { left: 60 }, 'fresh'],
    ['min-fresh=61', 'one that is not', { left: 60, ...windows }, 'validate'],
    ['max-stale', 'any stale response', { left: -9999 }, 'fresh'],
    ['max-stale=5', 'one that has been stale for so long', { left: -5 }, 'fresh'],
    ['max-stale=4', 'one that has been stale longer', { left: -5 }, 'validate'],
    ['max-stale=4', 'one within its own window', { left: -5, ...windows }, 'while-revalidate'],
    ['max-stale', 'one with must-revalidate', { left: -1, mustRevalidate: true }, 'validate'],
    ['max-stale', 'one with no-cache', { left: 60, alwaysValidate: true }, 'validate'],
    ['only-if-cached', 'a fresh response', { left: 1 }, 'fresh'],
    ['only-if-cached', 'a stale response', { left: -1, ...windows }, 'while-revalidate'],
  ])('by a request with %s: %s', (request, _what, given, expected) => {
    expect(permissionOf({ ...given, request })).toBe(expected);
  });
});
