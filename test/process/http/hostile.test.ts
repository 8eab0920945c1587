import fc from 'fast-check';
import { describe, it } from 'vitest';
import { chooseEncoding } from '../../../src/http/accept-encoding.js';
import { parseCacheControl } from '../../../src/http/cache-control.js';
import { parseCacheGroups } from '../../../src/http/cache-groups.js';
import { formatCacheStatus } from '../../../src/http/cache-status.js';
import { canonicalHost, canonicalTarget } from '../../../src/http/canonical-url.js';
import { matchesEtagList, notModified } from '../../../src/http/conditional-request.js';
import { contentCodings } from '../../../src/http/content-encoding.js';
import { explicitLifetime, heuristicLifetime, initialAge } from '../../../src/http/freshness.js';
import { parseHttpDate } from '../../../src/http/http-date.js';
import { equivalentQuery, normaliseQuery, parseNoVarySearch } from '../../../src/http/no-vary-search.js';
import { ifRangeHolds, selectRanges } from '../../../src/http/range.js';
import { parseRequestDirectives } from '../../../src/http/request-directives.js';
import { pathAndQueryOf } from '../../../src/http/request-target.js';
import { parseDictionary, parseList } from '../../../src/http/structured-fields.js';
import { surrogateDirectives } from '../../../src/http/surrogate-control.js';
import { targetedDirectives } from '../../../src/http/targeted-cache-control.js';
import { addVary, parseVary } from '../../../src/http/vary.js';
import { anyText } from '../../helpers/any-text.js';
import { expectLinear } from '../../helpers/linear.js';

const NOW = Date.UTC(2026, 5, 1);
const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT';
const cacheControl = parseCacheControl('public');
const keyOrder = parseNoVarySearch('key-order, params=("utm")');
const keep = parseNoVarySearch('params, except=("id")');

/** Every function of src/http that reads text of clients or handlers, with prefixes of its values. */
const readers: readonly [name: string, read: (text: string) => unknown, ...prefixes: string[]][] = [
  ['Accept-Encoding', (text) => chooseEncoding(text, ['br', 'gzip']), 'gzip;q=0.', 'gzip', 'gzip ;'],
  ['Age', (text) => initialAge({ age: text }, NOW), '1'],
  ['Cache-Control', parseCacheControl, 'max-age=', 'private="', 'a="'],
  ['Cache-Groups', parseCacheGroups, '"', '("a"'],
  ['Cache-Status (written)', (text) => formatCacheStatus({ detail: text }), 'a'],
  ['Content-Encoding', contentCodings, 'gzip,'],
  ['Date', (text) => initialAge({ date: text }, NOW), 'Sun, 06 Nov '],
  [
    'Expires',
    (text) => explicitLifetime({ cacheControl: parseCacheControl(''), expires: text }, NOW),
    'Sun, ',
  ],
  ['an HTTP date', (text) => parseHttpDate(text, NOW), 'Sunday, ', 'Sun '],
  ['If-Modified-Since', (text) => notModified({ ifModifiedSince: text }, { lastModified: DATE }), 'Sun, '],
  ['If-None-Match', (text) => matchesEtagList(text, '"z"'), 'W/"', '"'],
  ['If-Range', (text) => ifRangeHolds(text, { etag: '"z"', lastModified: DATE, date: DATE }), '"', 'W/'],
  ['an ETag', (text) => [matchesEtagList('"z"', text), ifRangeHolds('"z"', { etag: text })], '"', 'W/"'],
  [
    'Last-Modified',
    (text) => heuristicLifetime({ status: 200, cacheControl, lastModified: text }, NOW),
    'Sun, ',
  ],
  ['No-Vary-Search', parseNoVarySearch, 'params=("', 'params=(', 'key-order;'],
  ['Pragma', (text) => parseRequestDirectives(undefined, text), 'no-cache'],
  ['a request target', pathAndQueryOf, '/', 'a', 'http://', 'http://a/'],
  ['a URL that is purged', canonicalTarget, '/', '//', '/%', '/%c3', '/x?', '/x?a=', '/x?+&'],
  ['a host', canonicalHost, 'a.', '[', ','],
  ['Range', (text) => selectRanges(text, 1000), 'bytes=', 'bytes=0-', 'bytes=0-1,'],
  ['CDN-Cache-Control', targetedDirectives, 'max-age=', 'private="', 'a=('],
  ['Surrogate-Control', surrogateDirectives, 'max-age=', 'a;', 'a="', 'max-age=1;hotpath,'],
  ['a structured list', parseList, '"', '(', 'a;', ':', '%"', '@'],
  ['a structured dictionary', parseDictionary, 'a="', 'a=(', 'a;', 'a=:', 'a=%"'],
  ['a query, in any order', (text) => normaliseQuery(text, keyOrder), 'a=', 'utm='],
  ['a query, of which little matters', (text) => equivalentQuery(text, 'id=1', keep), 'id='],
  ['Vary', parseVary, 'accept,', 'a'],
  ['Vary (added to)', (text) => addVary(text, ['accept']), 'accept,'],
];

const fragments = [
  ...[',', ';', '=', '"', '\\', ' ', '\t', '(', ')', '-', '*', '%', '&', '+', ':', '?', '@', '/', '.', '\n'],
  ...['a', 'Z', '0', '9', 'é', '\u{1f600}', '\ud800', '\0'],
];

describe.each(readers)('%s', (_name, read, ...prefixes) => {
  it('never throws [K08]', () => {
    const anything = fc.oneof(
      anyText(),
      fc.string({ unit: fc.constantFrom(...fragments, ...prefixes), maxLength: 40 }),
    );
    const text = fc.tuple(fc.constantFrom('', ...prefixes), anything).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (given) => {
        read(given);
      }),
      { numRuns: 1_000 },
    );
  });

  it('reads a hostile value in linear time [K08]', () => {
    const pairs = [
      'a,',
      'a=',
      '" ',
      '",',
      '\\"',
      '0-,',
      ' ,',
      '; ',
      ';a',
      '%a',
      '%41',
      'a&',
      'W/"',
      '"a",',
      'a=1,',
    ];
    for (const prefix of ['', ...prefixes]) {
      for (const fragment of [...fragments, ...pairs]) {
        for (const ending of ['', '"', 'x']) {
          expectLinear(
            read,
            (length) => prefix + fragment.repeat((length - prefix.length) / fragment.length) + ending,
          );
        }
      }
    }
  });
});
