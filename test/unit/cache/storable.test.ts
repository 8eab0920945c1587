import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { CacheRule } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { decideStorable, type Storable, type StorageContext } from '../../../src/cache/fill/storable.js';
import { resolveCacheStandalone } from '../../../src/cache/options.js';
import { resolveCacheRule } from '../../../src/cache/rule.js';
import { MALFORMED_CACHE_CONTROL } from '../../helpers/malformed-cache-control.js';

const NOW = Date.UTC(2026, 0, 1);
const LAST_YEAR = 'Wed, 01 Jan 2025 00:00:00 GMT';
const IN_A_MINUTE = 'Thu, 01 Jan 2026 00:01:00 GMT';
const ORIGIN = { scheme: 'http', rawHost: 'shop.example', host: 'shop.example' };
const PUBLIC = { 'Cache-Control': 'public, max-age=60' };
const LISTED: CacheRule = { ttl: 90, statuses: [200, 301, 302, 307, 308] };
const profiles = ['safe', 'rfc9111'] as const;

/** A response, the rule for it, and the circumstances that differ from those of a plain GET for `/a/b?c=1`. */
interface Given extends Partial<Omit<StorageContext, 'rule' | 'settings'>> {
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly rule?: CacheRule | undefined;
  readonly profile?: 'safe' | 'rfc9111';
  readonly targets?: string[];
  readonly target?: string;
}

function verdictOf({
  status = 200,
  headers = {},
  rule: given,
  profile,
  targets,
  target,
  ...circumstances
}: Given) {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  res.statusCode = status;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value!);
  const rule = given && resolveCacheRule(given);
  const requested = { origin: ORIGIN, target: target ?? '/a/b?c=1', rule };
  return decideStorable(res, {
    settings: resolveCacheStandalone({ profile, targets }).settings,
    rule,
    hints: undefined,
    credential: undefined,
    method: 'GET',
    crossOrigin: false,
    range: undefined,
    length: undefined,
    requested,
    changed: undefined,
    broken: false,
    otherRoute: false,
    otherOrigin: false,
    hasRequestNoStore: false,
    now: NOW,
    ...circumstances,
  });
}

/** The reason of the refusal, or the storable response. */
type Expected = string | Partial<Storable>;

function expectVerdict(given: Given, expected: Expected): void {
  const verdict = verdictOf(given);
  const wanted = typeof expected === 'string' ? { refusal: expected } : { refusal: undefined, ...expected };
  expect({ given, verdict }).toEqual({ given, verdict: expect.objectContaining(stripped(wanted)) });
}

/** `objectContaining` wants a property that is `undefined` to be there. */
function stripped(wanted: object): object {
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
}

describe('the decision to store a response, in both profiles', () => {
  it.each<[what: string, given: Given, expected: Expected]>([
    ['for a HEAD [A15]', { method: 'HEAD' }, 'head'],
    ['for a POST [A12]', { method: 'POST' }, 'method'],
    ['that may be incomplete', { broken: true }, 'broken'],
    ['to a client that asks for no storage', { hasRequestNoStore: true }, 'request-no-store'],
    [
      'that the handler keeps out',
      { hints: { tags: new Set(), ttl: undefined, skip: 'skipped' } },
      'skipped',
    ],
    ['longer than an entry may be', { length: 2 ** 40 }, 'too-large'],
    ['to a request that has changed', { changed: 'partition-changed' }, 'partition-changed'],
    ['of another route [C03]', { otherRoute: true }, 'route'],
    ['of another origin', { otherOrigin: true }, 'origin'],
    ['with too many groups', { headers: { 'Cache-Groups': `"${'a'.repeat(300)}"` } }, 'cache-groups'],
    ['with no-store [A05]', { headers: { 'Cache-Control': 'no-store' } }, 'no-store'],
    ['with private [A05]', { headers: { 'Cache-Control': 'private' } }, 'private'],
    [
      'with private in any case, with blanks [A05]',
      { headers: { 'Cache-Control': 'PRIVATE , a=b' } },
      'private',
    ],
    ['with no-store beside public [A05]', { headers: { 'Cache-Control': 'no-store,public' } }, 'no-store'],
    ['with no-store after a tab [A05]', { headers: { 'Cache-Control': 'public,\tno-store' } }, 'no-store'],
    [
      'with no-store and an argument [A05]',
      { headers: { 'Cache-Control': 'no-store=1' } },
      'cache-control-invalid',
    ],
    ['with a comma at the end [A05]', { headers: { 'Cache-Control': 'private,' } }, 'private'],
    [
      'with two lines [A05]',
      { headers: { 'Cache-Control': ['public, max-age=60', 'no-store'] } },
      'no-store',
    ],
    ['with Vary: * [A07]', { headers: { Vary: '*' } }, 'vary-star'],
    [
      'with 500 names [A07]',
      { headers: { Vary: Array.from({ length: 500 }, (_, i) => `n${i}`).join() } },
      'vary-invalid',
    ],
    ['with * among others [A07]', { headers: { Vary: 'accept, *' } }, 'vary-star'],
    ['with a malformed Vary [A07]', { headers: { Vary: 'foo bar' } }, 'vary-invalid'],
    ['with a name of 200 characters [A07]', { headers: { Vary: 'a'.repeat(200) } }, 'vary-invalid'],
    [
      'with 31 names [A07]',
      { headers: { Vary: Array.from({ length: 31 }, (_, i) => `n${i}`).join() } },
      'vary-invalid',
    ],
    ['with a Vary of commas alone [A07]', { headers: { Vary: ',,,' } }, { vary: [], lifetime: 90 }],
    ['with an empty Vary [A07]', { headers: { Vary: '' } }, { vary: [] }],
    ['with an own lifetime', { headers: { 'Cache-Control': 'max-age=5' } }, { lifetime: 5 }],
    [
      'with a lifetime for shared caches',
      { headers: { 'Cache-Control': 'max-age=5, s-maxage=7' } },
      { lifetime: 7 },
    ],
    [
      'with a lifetime from the handler',
      { hints: { tags: new Set(), ttl: 3, skip: undefined } },
      { lifetime: 3 },
    ],
    ['with an age [A18]', { headers: { ...PUBLIC, Age: '59' } }, { lifetime: 60, initialAge: 59 }],
    [
      'with private in a quoted string [A05]',
      { headers: { 'Cache-Control': 'max-age=9, x="a,private"' } },
      { lifetime: 9 },
    ],
    [
      'with directives that begin alike [A05]',
      { headers: { 'Cache-Control': 'no-store-really, privateer' } },
      { lifetime: 90 },
    ],
  ])('one %s', (_what, given, expected) => {
    for (const profile of profiles) expectVerdict({ profile, rule: { ttl: 90 }, ...given }, expected);
  });

  it.each(MALFORMED_CACHE_CONTROL)('refuses malformed Cache-Control: %j [A05]', (value) => {
    for (const profile of profiles) {
      for (const headers of [{ 'Cache-Control': value }, { 'Cache-Control': ['max-age=60', value] }]) {
        for (const rule of [{ ttl: 90 }, undefined])
          expectVerdict({ profile, headers, rule, credential: 'authorization' }, 'cache-control-invalid');
      }
    }
  });

  it.each([204, 404, 500, 503])('stores a %i only when the rule lists it [A10, A13]', (status) => {
    for (const profile of profiles) {
      expectVerdict({ profile, status, rule: { ttl: 90 } }, 'status');
      expectVerdict({ profile, status, rule: { ttl: 90, statuses: [200, status] } }, { lifetime: 90 });
    }
  });
});

describe('the decision to store the response to a Range request', () => {
  it.each<[range: string, length: number | undefined, headers: OutgoingHttpHeaders, isRefused: boolean]>([
    ['items=0-9', 26, {}, true],
    ['Items=0-9', 26, {}, true],
    ['items', 26, {}, true],
    ['items 0-9', 26, {}, true],
    ['=0-9', 26, {}, true],
    ['bytes=0-4', 5, {}, true],
    ['bytes=5-9', 5, {}, true],
    ['bytes=20-', 6, {}, true],
    ['bytes=-6', 6, {}, true],
    ['bytes=0-99', 26, {}, true],
    ['bytes=0-4', 26, { 'Content-Range': 'bytes 0-4/26' }, true],
    ['bytes=0-4', 26, { 'Content-Type': 'multipart/byteranges; boundary=x' }, true],
    ['bytes=0-4', undefined, {}, true],
    ['bytes=0-4', 26, {}, false],
    ['bytes=5-2', 26, {}, false],
    ['bytes=x', 26, {}, false],
  ])('%s answered by %s bytes with %o: refused %s [D11, A13]', (range, length, headers, isRefused) => {
    for (const profile of profiles)
      expectVerdict(
        { profile, range, length, headers, rule: LISTED },
        isRefused ? 'range' : { lifetime: 90 },
      );
  });
});

describe('the decision to store a redirect', () => {
  it.each([
    'https://shop.example/a/b?c=1',
    'http://shop.example/a/b?c=1',
    'HTTPS://SHOP.Example/a/b?c=1',
    'https://shop.example:443/a/b?c=1',
    'http://shop.example:80/a/b?c=1',
    'https://shop.example./a/b?c=1',
    'https://user@shop.example/a/b?c=1',
    'https://shop.example/a/b?c=1#top',
    'https://shop.example/a/x/../b?c=1',
    '//shop.example/a/b?c=1',
    '/a/b?c=1',
    'b?c=1',
    './b?c=1',
    '../a/b?c=1',
    '?c=1',
    '#top',
    '',
    '\\\\shop.example\\a\\b?c=1',
  ])('refuses one that leads back to its own URL: %j [A14]', (location) => {
    for (const profile of profiles)
      for (const status of [301, 302, 307, 308])
        expectVerdict({ profile, status, headers: { Location: location }, rule: LISTED }, 'redirect-loop');
  });

  it.each([
    'https://www.shop.example/a/b?c=1',
    'https://shop.example:8443/a/b?c=1',
    'https://shop.example/a/b?c=2',
    'https://shop.example/a/b',
    'https://shop.example/a/b/?c=1',
    'https://shop.example/A/b?c=1',
    'app://shop.example/a/b?c=1',
    'http://[bad',
    '/',
  ])('allows one that leads elsewhere: %j [A14]', (location) => {
    for (const profile of profiles)
      expectVerdict(
        { profile, status: 301, headers: { Location: location }, rule: LISTED },
        { lifetime: 90 },
      );
  });

  it.each<[what: string, given: Given, expected: Expected]>([
    [
      'its own key',
      { target: '/a', headers: { Location: '/a?utm_x=1' }, rule: { ...LISTED, ignoreQuery: ['utm_*'] } },
      'redirect-loop',
    ],
    [
      'an equivalent query',
      { target: '/a?p=1', headers: { Location: '/a?p=2', 'No-Vary-Search': 'params' } },
      'redirect-loop',
    ],
    ['another query', { target: '/a?p=1', headers: { Location: '/a?p=2' } }, { lifetime: 90 }],
    ['one of several places', { target: '/a', headers: { Location: ['/elsewhere', '/a'] } }, 'redirect-loop'],
  ])('whose target is %s [A14, B13]', (_what, given, expected) => {
    expectVerdict({ status: 301, rule: LISTED, ...given }, expected);
  });
});

describe('the decision to store a response, in the safe profile', () => {
  it.each([
    ...[201, 202, 203, 204, 205, 206, 300, 302, 303, 304, 307, 400, 401, 403, 404, 405, 410, 413, 414, 429],
    ...[431, 451, 500, 501, 502, 503, 504, 599],
  ])('refuses a %i, even with a lifetime [A10, A11, A13, A14]', (status) => {
    for (const rule of [undefined, { ttl: 90 } as const])
      expectVerdict({ status, headers: PUBLIC, rule }, 'status');
  });

  it.each([200, 301, 308])('stores a %i', (status) => {
    expectVerdict({ status, headers: PUBLIC }, { lifetime: 60, explicitlyShared: true });
  });

  it.each([
    ...['Set-Cookie', 'Set-Cookie2', 'Set-Login', 'Clear-Site-Data', 'Authentication-Info', 'Authorization'],
    ...[
      'X-Auth-Token',
      'X-Access-Token',
      'X-Refresh-Token',
      'X-Session-Token',
      'X-CSRF-Token',
      'X-XSRF-Token',
    ],
  ])('refuses one with %s [A01]', (name) => {
    expectVerdict({ headers: { ...PUBLIC, [name]: 'secret' }, rule: { ttl: 90 } }, name.toLowerCase());
  });

  it.each<[what: string, given: Given, expected: Expected]>([
    ['no-cache', { headers: { 'Cache-Control': 'max-age=60,no-cache' } }, 'no-cache'],
    ['no-cache with a field', { headers: { 'Cache-Control': 'max-age=60, no-cache="x-a"' } }, 'no-cache'],
    ['private with a field', { headers: { 'Cache-Control': 'max-age=60, private="x-a"' } }, 'private'],
    ['Pragma alone', { headers: { Pragma: 'no-cache' } }, 'no-cache'],
    ['Pragma beside Cache-Control', { headers: { ...PUBLIC, Pragma: 'no-cache' } }, { lifetime: 60 }],
    ['a lifetime of zero', { headers: { 'Cache-Control': 'public, max-age=0' } }, 'no-lifetime'],
    [
      'a lifetime of zero for shared caches',
      { headers: { 'Cache-Control': 'max-age=60, s-maxage=0' } },
      'no-lifetime',
    ],
    ['a lifetime that is no number', { headers: { 'Cache-Control': 'public, max-age=abc' } }, 'no-lifetime'],
    ['an age beyond its lifetime [A18]', { headers: { ...PUBLIC, Age: '60' } }, 'no-lifetime'],
    ['a nonce', { headers: { 'Content-Security-Policy': "script-src 'nonce-abc'" } }, 'nonce'],
    ['an event stream', { headers: { 'Content-Type': 'text/event-stream' } }, 'event-stream'],
    [
      'Vary: Authorization [A06]',
      { headers: { ...PUBLIC, Vary: 'authorization, Accept' } },
      'vary-authorization',
    ],
    ['Vary: Cookie [A06]', { headers: { ...PUBLIC, Vary: 'Accept, COOKIE' } }, 'vary-cookie'],
    [
      'Vary: Cookie, and cookies in the rule',
      { headers: { Vary: 'Cookie' }, rule: { ttl: 90, vary: { cookies: ['a'] } } },
      { vary: ['cookie'] },
    ],
    ['an encoding for one client', { headers: { 'Content-Encoding': 'gzip' } }, 'encoding'],
    [
      'an encoding in Vary',
      { headers: { 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' } },
      { lifetime: 90 },
    ],
    ['CORS for one origin', { headers: { 'Access-Control-Allow-Origin': 'https://a.example' } }, 'cors'],
    ['CORS for all', { headers: { 'Access-Control-Allow-Origin': '*' } }, { anyOrigin: true, vary: [] }],
    ['nothing of CORS, to an origin', { crossOrigin: true }, { anyOrigin: false, vary: ['origin'] }],
    ['credentials', { credential: 'authorization' }, 'authorization'],
    [
      'credentials and a lifetime [A02]',
      { credential: 'cookie', headers: { 'Cache-Control': 'max-age=60' } },
      'cookie',
    ],
    ['credentials and public [A02]', { credential: 'cookie', headers: PUBLIC }, { explicitlyShared: true }],
    [
      'credentials and s-maxage [A02]',
      { credential: 'x-api-key', headers: { 'Cache-Control': 's-maxage=9' } },
      { lifetime: 9 },
    ],
    [
      'Authorization and must-revalidate [A02]',
      { credential: 'authorization', headers: { 'Cache-Control': 'must-revalidate' } },
      { explicitlyShared: false },
    ],
    [
      'a cookie and must-revalidate [A02]',
      { credential: 'cookie', headers: { 'Cache-Control': 'must-revalidate' } },
      'cookie',
    ],
  ])('one with %s', (_what, given, expected) => {
    expectVerdict({ rule: { ttl: 90 }, ...given }, expected);
  });

  it.each([undefined, 'max-age=60', '', 'must-revalidate'])('refuses %j without a rule [A05]', (value) => {
    expectVerdict({ headers: value === undefined ? {} : { 'Cache-Control': value } }, 'not-public');
  });
});

describe('the decision to store a response, by RFC 9111', () => {
  const by = (given: Given): Given => ({ profile: 'rfc9111', ...given });

  it.each<[what: string, headers: OutgoingHttpHeaders]>([
    ['Last-Modified', { 'Last-Modified': LAST_YEAR }],
    ['an ETag', { ETag: '"a"' }],
    ['stale-while-revalidate', { 'Cache-Control': 'stale-while-revalidate=60', ETag: '"a"' }],
    ['stale-if-error', { 'Cache-Control': 'stale-if-error=60', 'Last-Modified': LAST_YEAR }],
    ['no-cache', { 'Cache-Control': 'no-cache', ETag: '"a"' }],
    ['must-revalidate', { 'Cache-Control': 'must-revalidate', 'Last-Modified': LAST_YEAR }],
  ])('refuses statuses that are not cacheable by default with %s alone [A10]', (_what, headers) => {
    const windows: CacheRule = { ttl: 60, staleWhileRevalidate: 60, staleIfError: 60 };
    for (const status of [302, 303, 307, 400, 403, 429, 500, 502, 503, 599])
      for (const rule of [undefined, windows]) expectVerdict(by({ status, headers, rule }), 'status');
  });

  it.each([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])(
    'stores a %i with a validator [A10]',
    (status) => {
      expectVerdict(by({ status, headers: { 'Last-Modified': LAST_YEAR } }), { explicitlyShared: false });
    },
  );

  it.each([302, 503])('stores a %i with a lifetime of its own, or public [A10]', (status) => {
    const fields = [
      { 'Cache-Control': 'max-age=60' },
      { 'Cache-Control': 's-maxage=60' },
      { Expires: IN_A_MINUTE },
    ];
    for (const headers of fields) expectVerdict(by({ status, headers }), { lifetime: 60 });
    expectVerdict(by({ status, headers: { 'Cache-Control': 'public', 'Last-Modified': LAST_YEAR } }), {});
  });

  it.each<[what: string, given: Given, expected: Expected]>([
    ['a part', { status: 206, headers: PUBLIC }, 'status'],
    ['nothing at all', {}, 'no-lifetime'],
    [
      'a status that it must understand',
      { status: 299, headers: { 'Cache-Control': 'must-understand, max-age=9' } },
      'must-understand',
    ],
    [
      'no-store beside must-understand',
      { headers: { 'Cache-Control': 'must-understand, no-store, max-age=9' } },
      { lifetime: 9 },
    ],
    [
      'private with fields',
      { headers: { 'Cache-Control': 'max-age=9, private="x-a, X-B"' } },
      { omitted: ['x-a', 'x-b'] },
    ],
    [
      'no-cache',
      { headers: { 'Cache-Control': 'no-cache', ETag: '"a"' } },
      { reuse: expect.objectContaining({ alwaysValidate: true }) as never },
    ],
    [
      'Authorization',
      { credential: 'authorization', headers: { 'Cache-Control': 'max-age=9' } },
      'authorization',
    ],
    [
      'Authorization and public',
      { credential: 'authorization', headers: PUBLIC },
      { explicitlyShared: true },
    ],
    ['Vary: Cookie', { headers: { ...PUBLIC, Vary: 'Cookie' } }, { vary: ['cookie'] }],
    ['Set-Cookie', { headers: { ...PUBLIC, 'Set-Cookie': 'a=1' } }, { lifetime: 60 }],
  ])('one with %s', (_what, given, expected) => expectVerdict(by(given), expected));

  it.each([
    'max-age=60, no-store, x="',
    'no-store, max-age="60"',
    'no-store no-cache',
    'max-age=60; private, no-store;',
    'PRIVATE, Max-Age=60',
    'public; no-store, max-age=60',
    'max-age=60;private',
    'max-age=60; no-cache=1',
  ])('refuses a malformed targeted field that hides a restriction: %j [A05]', (value) => {
    for (const field of ['cdn-cache-control', 'surrogate-control']) {
      const { refusal } = verdictOf(by({ headers: { ...PUBLIC, [field]: value }, targets: [field] }));
      expect(refusal, field).toMatch(/^(?:cache-control-invalid|no-store|private)$/);
    }
  });

  it.each<[what: string, headers: OutgoingHttpHeaders]>([
    ['only a lifetime', { 'CDN-Cache-Control': 'max-age="60"' }],
    ['directives for other surrogates', { 'Surrogate-Control': 'no-store;edge, max-age=5;edge' }],
    ['a capability', { 'Surrogate-Control': 'content="x, no-store"' }],
    ['a valid field before it', { 'CDN-Cache-Control': 'max-age=60', 'Surrogate-Control': 'no-store, x="' }],
  ])('takes the next field where a malformed targeted one has %s', (_what, headers) => {
    expectVerdict(by({ headers: { ...headers, ...PUBLIC } }), { lifetime: 60 });
  });

  it.each(['public=bad, max-age=60', 'public="x", max-age=60', 'must-revalidate=1, max-age=60'])(
    'does not share with credentials by a targeted field with invalid arguments: %j [A02]',
    (value) => {
      expectVerdict(
        by({ credential: 'authorization', headers: { 'CDN-Cache-Control': value } }),
        'authorization',
      );
    },
  );
});
