import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';

/** The patterns in order, and the later one that never applies. */
const shadowed: readonly (readonly [patterns: readonly string[], later: string, earlier: string])[] = [
  [['/products/:id', '/products/top'], '/products/top', '/products/:id'],
  [['/products/:id', '/products/:name'], '/products/:name', '/products/:id'],
  [['/products/:id', '/products/:name.json'], '/products/:name.json', '/products/:id'],
  [['/*path', '/a/b'], '/a/b', '/*path'],
  [['/a/*path', '/a/b/:c'], '/a/b/:c', '/a/*path'],
  [['/a/*path', '/a/*other'], '/a/*other', '/a/*path'],
  [['/list{/:page}', '/list'], '/list', '/list{/:page}'],
  [['/Products', '/products'], '/products', '/Products'],
  [['/a/', '/a'], '/a', '/a/'],
  [['{/*path}', '/'], '/', '{/*path}'],
];
const apart: readonly (readonly string[])[] = [
  ['/products/top', '/products/:id'],
  ['/products/:id.json', '/products/:id'],
  ['/a/:b', '/a/*path'],
  ['/list', '/list{/:page}'],
  ['/a/*path', '/a'],
  ['/:a/b', '/a/:b'],
];

describe('rules that an earlier rule shadows', () => {
  afterEach(() => vi.restoreAllMocks());
  const warningsOf = (make: () => unknown) => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    make();
    return warning.mock.calls.map(([message, options]) => [(options as { code?: string }).code, message]);
  };

  it.each(shadowed)('cause a warning: %j', async (patterns, later, earlier) => {
    const routes = Object.fromEntries(patterns.map((pattern) => [pattern, { cache: { ttl: 3600 } }]));
    const found = warningsOf(() => void hotpath({ routes, metrics: false }).close());
    expect(found.map(([code]) => code)).toEqual(['HOTPATH_RULE_SHADOWED']);
    const path = (pattern: string) => `routes['${pattern}']`;
    expect(found[0]![1]).toContain(`${path(later)} has no effect: ${path(earlier)} comes before it`);
    expect(found[0]![1]).toContain(`move "${later}" before "${earlier}"`);
  });

  it.each(apart)('cause none when they match paths of their own: %s, %s', (...patterns) => {
    const routes = Object.fromEntries(patterns.map((pattern) => [pattern, { cache: { ttl: 3600 } }]));
    expect(warningsOf(() => void hotpath({ routes, metrics: false }).close())).toEqual([]);
  });

  it('cause a warning in a cache of its own', () => {
    const routes = { '/a/:b': { ttl: 1 }, '/a/b': { ttl: 1 } };
    expect(warningsOf(() => void responseCache({ routes }).close())).toHaveLength(1);
  });
});
