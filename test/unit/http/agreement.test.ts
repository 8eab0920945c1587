import fc from 'fast-check';
import { parseList as parseListElsewhere } from 'structured-headers';
import { describe, expect, it } from 'vitest';
import { chooseEncoding } from '../../../src/http/accept-encoding.js';
import { formatCacheStatus } from '../../../src/http/cache-status.js';
import { matchesEtagList, notModified } from '../../../src/http/conditional-request.js';
import { contentCodings } from '../../../src/http/content-encoding.js';
import { formatHttpDate, parseHttpDate } from '../../../src/http/http-date.js';
import { addVary, parseVary } from '../../../src/http/vary.js';
import { anyText } from '../../helpers/any-text.js';

const NOW = Date.UTC(2026, 5, 1);

describe('HTTP dates', () => {
  const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
  // Within the fifty years that a two-digit year can express.
  const times = fc.integer({ min: Date.UTC(1977) / 1000, max: Date.UTC(2076) / 1000 }).map((s) => s * 1000);

  it('are read as the same time in each of their three forms', () => {
    fc.assert(
      fc.property(times, (time) => {
        const imf = formatHttpDate(time);
        expect(imf).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
        const [, day, month, year, clock] = imf.split(' ');
        const weekday = DAYS[new Date(time).getUTCDay()]!;
        const rfc850 = `${weekday}, ${day}-${month}-${year!.slice(2)} ${clock} GMT`;
        const asctime = `${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year}`;
        for (const form of [imf, rfc850, asctime]) expect(parseHttpDate(form, NOW), form).toBe(time);
      }),
      { numRuns: 2_000, seed: 567 },
    );
  });
});

describe('Accept-Encoding', () => {
  const CODINGS = ['br', 'gzip', 'zstd'] as const;
  const weight = fc.constantFrom('', ';q=1', ';q=0', ';q=0.5', '; q=0.501', ' ;Q=0.000', ';q=1.000');
  const name = fc.constantFrom(...CODINGS, 'GZIP', 'x-gzip', 'deflate', 'identity', '*');
  const bad = fc.constantFrom('', 'br;q=2', 'gzip;q=', 'zstd;level=3', 'br gzip', '"br"');
  const members = fc.array(
    fc.oneof({ weight: 6, arbitrary: fc.tuple(name, weight).map((p) => p.join('')) }, bad),
    {
      maxLength: 6,
    },
  );

  it('choose a coding that no offered coding beats [E03]', () => {
    fc.assert(
      fc.property(members, fc.shuffledSubarray([...CODINGS]), (given, offered) => {
        const chosen = chooseEncoding(given.join(', '), offered);
        const wish = (coding: string) => weightOf(given, coding) ?? weightOf(given, '*') ?? 0;
        const identity = weightOf(given, 'identity') ?? 0;
        const wanted = offered.filter((coding) => wish(coding) > 0 && wish(coding) >= identity);
        if (chosen === undefined) expect(wanted).toEqual([]);
        else {
          expect(wanted).toContain(chosen);
          for (const other of wanted) {
            expect(wish(chosen)).toBeGreaterThanOrEqual(wish(other));
            // Among equals, the coding offered first.
            if (wish(chosen) === wish(other)) {
              expect(offered.indexOf(chosen)).toBeLessThanOrEqual(offered.indexOf(other));
            }
          }
        }
      }),
      { numRuns: 10_000, seed: 1253 },
    );
  });

  /** The weight of the first member that names the coding and follows the grammar. */
  function weightOf(given: readonly string[], coding: string): number | undefined {
    for (const member of given) {
      const [written, parameter, ...rest] = member.split(';').map((part) => part.trim().toLowerCase());
      if ((written === 'x-gzip' ? 'gzip' : written) !== coding || rest.length > 0) continue;
      if (parameter === undefined) return 1;
      const weight = Number(parameter.slice(2));
      if (parameter.startsWith('q=') && parameter.length > 2 && weight <= 1) return weight;
    }
    return undefined;
  }
});

describe('Cache-Status', () => {
  it('is read back by another implementation as it was written', () => {
    const status = fc.record(
      {
        hit: fc.constant(true),
        fwd: fc.constantFrom('bypass', 'uri-miss', 'stale'),
        stored: fc.constant(true),
        collapsed: fc.boolean(),
        ttl: fc.integer({ min: -1e9, max: 1e9 }),
        key: fc.stringMatching(/^[ -~]{0,40}$/),
        detail: fc.stringMatching(/^[ -~]{0,40}$/),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(status, (given) => {
        const members = parseListElsewhere(
          formatCacheStatus(given as Parameters<typeof formatCacheStatus>[0]),
        );
        expect(members).toHaveLength(1);
        const [cache, parameters] = members[0]!;
        expect(String(cache)).toBe('hotpath');
        const read = [...parameters].map(([key, value]) => [
          key,
          typeof value === 'object' ? String(value) : value,
        ]);
        expect(Object.fromEntries(read)).toEqual(given);
      }),
      { numRuns: 2_000, seed: 9211 },
    );
  });

  it('is one member of a list, with any detail', () => {
    fc.assert(
      fc.property(anyText(), (detail) => {
        expect(parseListElsewhere(formatCacheStatus({ hit: true, detail }))).toHaveLength(1);
      }),
      { numRuns: 2_000, seed: 9211 },
    );
  });
});

describe('If-None-Match', () => {
  const opaque = fc.stringMatching(/^[!#-~]{0,6}$/);
  const tag = fc.tuple(fc.boolean(), opaque).map(([weak, text]) => `${weak ? 'W/' : ''}"${text}"`);

  it('matches the listed tags, weak or strong, and no others [D12]', () => {
    fc.assert(
      fc.property(
        fc.array(tag, { maxLength: 5 }),
        tag,
        fc.constantFrom(',', ', ', ' ,\t'),
        (tags, wanted, comma) => {
          const strong = (given: string) => given.replace(/^W\//, '');
          const listed = tags.some((given) => strong(given) === strong(wanted));
          expect(matchesEtagList(tags.join(comma), wanted)).toBe(listed);
          expect(notModified({ ifNoneMatch: tags.join(comma) }, { etag: wanted })).toBe(listed);
          expect(matchesEtagList([...tags, wanted].join(comma), wanted)).toBe(true);
        },
      ),
      { numRuns: 5_000, seed: 1312 },
    );
  });
});

describe('Vary', () => {
  it('keeps existing names and adds new ones [A08]', () => {
    const names = fc.array(fc.stringMatching(/^[A-Za-z0-9!#$%&'+.^_`|~-]{1,6}$/), { maxLength: 6 });
    fc.assert(
      fc.property(names, names, (before, added) => {
        const lower = [...before, ...added].map((given) => given.toLowerCase());
        expect(parseVary(addVary(before.join(', '), added))).toEqual([...new Set(lower)].sort());
      }),
      { numRuns: 2_000, seed: 1255 },
    );
  });
});

describe('Content-Encoding', () => {
  it('lists the codings in the order they were applied, up to the limit', () => {
    const codings = fc.array(fc.constantFrom('gzip', 'br', 'X-Gzip', 'identity', 'zstd', ''), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(codings, fc.integer({ min: 1, max: 4 }), (given, most) => {
        const real = given.filter((coding) => coding !== '' && coding !== 'identity');
        const expected = real.map((coding) => (coding === 'X-Gzip' ? 'gzip' : coding)).slice(0, most);
        expect(contentCodings(given.join(' , '), most)).toEqual(expected);
      }),
      { numRuns: 1_000, seed: 84 },
    );
  });
});
