import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHost, canonicalTarget } from '../../../src/http/canonical-url.js';
import { pathAndQueryOf } from '../../../src/http/request-target.js';
import { anyText } from '../../helpers/any-text.js';

/** Characters of a path segment or of a query part, plain or encoded. */
const text = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((value) => value.isWellFormed());

/** A random spelling of a text: each character plain, or encoded where both mean the same. */
const spelling = (value: string, literal: RegExp) =>
  fc.array(fc.nat(2), { minLength: 64, maxLength: 64 }).map((choices) =>
    Array.from(value, (char, at) => {
      const choice = choices[at % choices.length];
      if (choice === 0 && literal.test(char)) return char;
      const encoded = Array.from(
        new TextEncoder().encode(char),
        (byte) => `%${byte.toString(16).padStart(2, '0')}`,
      ).join('');
      return choice === 1 ? encoded : encoded.toUpperCase();
    }).join(''),
  );
const IN_PATH = /[^/?#%\\]/u;
const IN_QUERY = /[^&=+#%]/u;

const twoPaths = fc
  .array(text, { minLength: 1, maxLength: 4 })
  .chain((segments) => {
    const spelled = fc.tuple(...segments.map((segment) => spelling(segment, IN_PATH)));
    return fc.tuple(fc.constant(segments), spelled, spelled);
  })
  .map(([segments, one, other]) => ({ segments, one: `/${one.join('/')}`, other: `/${other.join('/')}` }));

const twoQueries = fc
  .array(fc.tuple(text, text), { minLength: 1, maxLength: 4 })
  .chain((pairs) => {
    const parts = fc.tuple(...pairs.flat().map((part) => spelling(part, IN_QUERY)));
    return fc.tuple(fc.constant(pairs), parts, parts);
  })
  .map(([pairs, one, other]) => {
    const joined = (parts: readonly string[]) =>
      pairs.map((_, i) => `${parts[2 * i]}=${parts[2 * i + 1]}`).join('&');
    return { pairs, one: `/x?${joined(one)}`, other: `/x?${joined(other)}` };
  });

/** The segments that an app reads from a path, in lower case and without empty ones. */
const read = (path: string) =>
  path
    .split('/')
    .filter((segment) => segment !== '')
    .map((segment) => decodeURIComponent(segment).replace(/[A-Z]/g, (letter) => letter.toLowerCase()));

describe('canonical targets', () => {
  it('are equal for all spellings of a path, and differ between paths [B09]', () => {
    fc.assert(
      fc.property(twoPaths, twoPaths, ({ one, other }, { one: stranger }) => {
        expect(canonicalTarget(one)).toBe(canonicalTarget(other));
        const isSame = JSON.stringify(read(one)) === JSON.stringify(read(stranger));
        expect(canonicalTarget(one) === canonicalTarget(stranger)).toBe(isSame);
      }),
      { numRuns: 2000 },
    );
  });

  it('are equal for all queries that an app reads the same, and differ between others [B05]', () => {
    const parsed = (target: string) =>
      JSON.stringify(
        [...new URLSearchParams(target.slice(target.indexOf('?') + 1))].filter(([n, v]) => n || v),
      );
    fc.assert(
      fc.property(twoQueries, twoQueries, ({ one, other }, { one: stranger }) => {
        expect(canonicalTarget(one)).toBe(canonicalTarget(other));
        expect(canonicalTarget(one) === canonicalTarget(stranger)).toBe(parsed(one) === parsed(stranger));
      }),
      { numRuns: 2000 },
    );
  });

  it('do not change when they are made canonical again, for any text [B08]', () => {
    fc.assert(
      fc.property(anyText(), (rest) => {
        const once = canonicalTarget(`/${rest}`);
        expect(canonicalTarget(once)).toBe(once);
        expect(once).toMatch(/^\/[\w\-.~/%]*(\?[\w\-.~%=&]+)?$/);
      }),
      { numRuns: 2000 },
    );
  });

  it('match the URL that a WHATWG client makes of a text', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' })), (segments) => {
        const path = `/${segments.map((segment) => segment.replace(/[?#\\\s]/g, '')).join('/')}`;
        fc.pre(!/\/(?:\.|%2e){1,2}(?:\/|$)/i.test(path));
        expect(canonicalTarget(new URL(`http://host${path}`).pathname)).toBe(canonicalTarget(path));
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['/wiki/Zürich', '/wiki/Z%C3%BCrich', true],
    ['/%c3%a9', '/%C3%A9', true],
    ['/a b', '/a%20b', true],
    ['/a+b', '/a%20b', false],
    ['/a+b', '/a%2Bb', true],
    ['/%41', '/a', true],
    ['/@me', '/%40me', true],
    ['/a/b', '/a%2Fb', false],
    ['/a', '/a%3Fb', false],
    ['/x/', '/X', true],
    ['/x', '//x//', true],
    ['/', '//', true],
    ['/x', '/x?', true],
    ['/x', '/x?&&', true],
    ['/x?a', '/x?a=', true],
    ['/x?a=1&b=2', '/x?&a=1&&b=2&', true],
    ['/x?a=1&b=2', '/x?b=2&a=1', false],
    ['/x?q=a+b', '/x?q=a%20b', true],
    ['/x?q=a+b', '/x?q=a%2Bb', false],
    ['/x?a=b=c', '/x?a=b%3Dc', true],
    ['/x?a%3Db=c', '/x?a=b=c', false],
    ['/x?a%26b=1', '/x?a&b=1', false],
    ['/x?f[a]=1,2', '/x?f%5Ba%5D=1%2C2', true],
    ['/x?Q=1', '/x?q=1', false],
    ['/%C0', '/%C1', false],
    ['/e%CC%81', '/%C3%A9', false],
    ['/100%', '/100%25', true],
    ['/\u017f', '/s', false],
    ['/\u212a', '/k', false],
    ['/\ud800', '/\ufffd', true],
  ])('are the same for %s and %s: %s [B08]', (one, other, isSame) => {
    expect(canonicalTarget(one) === canonicalTarget(other)).toBe(isSame);
  });
});

describe('path and query of a target', () => {
  it.each([
    ['/x?y', '/x?y'],
    ['//x', '//x'],
    ['http://host/x?y', '/x?y'],
    ['HTTP://user@host:1/x', '/x'],
    ['http://host', '/'],
    ['http://host?y', '/?y'],
    ['http://[::1/x', '/x'],
    ['*', undefined],
    ['host:443', undefined],
    ['', undefined],
  ])('are read from %s: %s', (target, expected) => {
    expect(pathAndQueryOf(target)).toBe(expected);
  });
});

describe('canonical hosts', () => {
  it.each([
    ['Shop.Example', 'shop.example'],
    ['shop.example:80', 'shop.example'],
    ['shop.example:443', 'shop.example'],
    ['shop.example:8080', 'shop.example:8080'],
    ['münchen.example', 'xn--mnchen-3ya.example'],
    ['[::1]:3000', '[::1]:3000'],
    ['a.example, b.example', 'a.example'],
    ['', ''],
    ['a b', 'a b'],
  ])('are read from %s: %s', (host, expected) => {
    expect(canonicalHost(host)).toBe(expected);
  });
});
