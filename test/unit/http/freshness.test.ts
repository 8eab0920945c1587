import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCacheControl } from '../../../src/http/cache-control.js';
import { explicitLifetime, heuristicLifetime, initialAge } from '../../../src/http/freshness.js';
import { formatHttpDate } from '../../../src/http/http-date.js';

const NOW = Date.UTC(2026, 5, 1);
const at = (seconds: number) => formatHttpDate(NOW + seconds * 1000);

interface Response {
  readonly status: number;
  /** Directives in the order of the field, with the text after the `=`. */
  readonly directives: readonly (readonly [name: string, argument?: string])[];
  readonly date?: string | undefined;
  readonly expires?: string | undefined;
  readonly lastModified?: string | undefined;
  readonly age?: string | undefined;
}

const seconds = fc.oneof(fc.integer({ min: 0, max: 90 }), fc.constantFrom(86_400, 864_000, 2 ** 31, 2 ** 40));
const argument = fc.oneof(seconds.map(String), fc.constantFrom('-1', '1.5', 'x', '', '"7"', '007'));
const directive = fc.oneof(
  fc.tuple(fc.constantFrom('max-age', 's-maxage', 'Max-Age', 'S-MAXAGE'), argument),
  fc.tuple(fc.constantFrom('public', 'must-revalidate', 'no-transform', 'x-max-age', 'max-ages')),
);
const date = fc.oneof(
  fc.integer({ min: -90, max: 90 }).map(at),
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map(at),
  fc.constantFrom('0', 'yesterday', ''),
);
const maybeDate = fc.option(date, { nil: undefined });
const responses: fc.Arbitrary<Response> = fc.record({
  status: fc.constantFrom(200, 203, 206, 301, 302, 404, 500, 599),
  directives: fc.array(directive, { maxLength: 3 }),
  date: maybeDate,
  expires: maybeDate,
  lastModified: maybeDate,
  age: fc.option(fc.oneof(seconds.map(String), fc.constantFrom('-1', 'x', '', '5, 9', '3;a', '1.5')), {
    nil: undefined,
  }),
});

describe('freshness', () => {
  it('matches an independent reading of RFC 9111 §4.2 for any response', () => {
    fc.assert(
      fc.property(responses, (response) => {
        const field = response.directives.map((pair) => pair.join('=')).join(', ');
        const fields = { ...response, cacheControl: parseCacheControl(field) };
        const lifetime = explicitLifetime(fields, NOW) ?? heuristicLifetime(fields, NOW);
        const expected = lifetimeOf(response);
        if (expected === undefined) expect(lifetime).toBeUndefined();
        else expect(lifetime).toBeCloseTo(expected, 6);
        expect(initialAge(response, NOW)).toBe(ageOf(response));
      }),
      { numRuns: 20_000, seed: 42 },
    );
  });

  it.each<[string, string, object, number | undefined]>([
    ['s-maxage before max-age', 's-maxage=5, max-age=9', {}, 5],
    ['max-age before Expires', 'max-age=9', { expires: at(100) }, 9],
    ['max-age=0 before Expires', 'max-age=0', { expires: at(100) }, 0],
    ['the shorter of two max-age', 'max-age=9, max-age=5', {}, 5],
    ['a malformed max-age: none', 'max-age=x', { expires: at(100) }, 0],
    ['Expires after Date', '', { expires: at(60), date: at(-20) }, 80],
    ['Expires after now, without Date', '', { expires: at(60) }, 60],
    ['Expires after now, with a malformed Date', '', { expires: at(60), date: 'x' }, 60],
    ['Expires in the past: none', '', { expires: at(-60), date: at(0) }, 0],
    ['Expires: 0', '', { expires: '0' }, 0],
    ['nothing said', 'public', {}, undefined],
  ])('lifetime: %s', (_case, field, rest, lifetime) => {
    expect(explicitLifetime({ cacheControl: parseCacheControl(field), ...rest }, NOW)).toBe(lifetime);
  });

  it.each<[string, object, number]>([
    ['Age', { age: '30' }, 30],
    ['the time since Date', { date: at(-40) }, 40],
    ['the greater of both', { age: '30', date: at(-40) }, 40],
    ['no less than nothing, where Date lies ahead', { date: at(40) }, 0],
    ['the first of several Age', { age: '7, 9' }, 7],
    ['a malformed Age: none', { age: 'x' }, 0],
    ['a negative Age: none', { age: '-7200' }, 0],
    ['an Age with a fraction: none', { age: '7200.0' }, 0],
    ['a malformed Age before another: none', { age: 'x, 7200' }, 0],
    ['an Age with parameters', { age: '7;foo=bar' }, 7],
    ['an Age beyond every number', { age: '9'.repeat(400) }, 2 ** 31],
  ])('age: %s', (_case, fields, age) => {
    expect(initialAge(fields, NOW)).toBe(age);
  });
});

// An independent implementation of the standard, in its order and as simple as possible, with no code of hotpath.

/** RFC 9111 §4.2.1, §4.2.2: seconds; `undefined` when a shared cache has no lifetime to use. */
function lifetimeOf(response: Response): number | undefined {
  for (const name of ['s-maxage', 'max-age']) {
    const given = response.directives.filter(([directiveName]) => directiveName.toLowerCase() === name);
    if (given.length > 0) return Math.min(...given.map(([, text]) => deltaSeconds(text)));
  }
  const expires = timeOf(response.expires);
  if (expires === 'malformed') return 0;
  const made = timeOf(response.date);
  if (expires !== undefined) return Math.max(0, (expires - (typeof made === 'number' ? made : NOW)) / 1000);
  const understood = ['200', '203', '204', '300', '301', '308', '404', '405', '410', '414', '501'];
  const isPublic = response.directives.some(([name]) => name === 'public');
  const modified = timeOf(response.lastModified);
  if (!understood.includes(String(response.status)) && !isPublic) return undefined;
  if (typeof modified !== 'number' || modified >= NOW) return undefined;
  const tenth = (NOW - modified) / 10_000;
  return Math.min(tenth, 86_400);
}

/** RFC 9111 §4.2.3, without transit time. */
function ageOf(response: Response): number {
  // §5.1: uses the first of several values, ignores one that is no number, and ignores parameters after `;`.
  const first = (response.age ?? '').split(',')[0]!.split(';')[0]!;
  const value = /^[0-9]+$/.test(first) ? Math.min(Number(first), 2_147_483_648) : 0;
  const made = timeOf(response.date);
  const apparent = typeof made === 'number' ? Math.max(0, (NOW - made) / 1000) : 0;
  return Math.max(value, apparent);
}

/** RFC 9111 §1.2.2; an invalid lifetime is stale (§4.2.1). */
function deltaSeconds(text: string | undefined): number {
  const digits = text?.startsWith('"') ? text.slice(1, -1) : text;
  return digits && [...digits].every((digit) => '0123456789'.includes(digit))
    ? Number(BigInt(digits) > 2n ** 31n ? 2n ** 31n : BigInt(digits))
    : 0;
}

function timeOf(text: string | undefined): number | 'malformed' | undefined {
  if (text === undefined) return undefined;
  const time = text.endsWith(' GMT') ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? 'malformed' : time;
}
