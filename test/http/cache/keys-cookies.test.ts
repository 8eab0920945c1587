import { createRequire } from 'node:module';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { readCookies, selectCookies } from '../../../src/cache/request/key.js';
import { cacheApp } from '../../helpers/cache.js';
import { majors, raw } from '../../helpers/http.js';

/** The parser of Express itself, which `cookie-parser` and `express-session` use too. */
const { parse } = createRequire(createRequire(import.meta.url).resolve('express'))('cookie') as {
  parse(header: string): Record<string, string>;
};

const HEADERS = [
  'theme=dark',
  '\u00a0theme=dark',
  'theme\u00a0=dark',
  'theme=\u00a0dark',
  ' theme=dark ',
  '\ttheme\t=\tdark\t',
  'theme',
  'theme=',
  'theme; theme=dark',
  'theme=dark; theme',
  'theme=light; theme=dark',
  'theme="dark"',
  'theme="dark',
  'theme=dark=er',
  '=theme=dark',
  ';;theme=dark;;',
  'a; b=1; theme=dark',
  'a=1;theme=d%61rk',
  'theme=%',
  'Theme=dark',
  'x=theme=dark',
];

describe.each(majors)('cookies and header values in the key (%s)', (_name, express) => {
  it.each(HEADERS)(
    'serves no client a page that was made for a cookie different from %j [A04, B07]',
    async (cookie) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: '1m', vary: { cookies: ['theme'] } } } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count();
            res.json(parse(req.headers.cookie ?? '').theme ?? null);
          }),
      });
      for (const header of [cookie, ...HEADERS, cookie]) {
        const lines = `GET /x HTTP/1.1\r\nHost: x\r\nCookie: ${header}\r\nConnection: close\r\n\r\n`;
        const { text } = await raw(made.port, [Buffer.from(lines, 'latin1')]);
        expect([header, JSON.parse(text)]).toEqual([header, parse(header).theme ?? null]);
      }
    },
  );

  it.each<[StandaloneCacheOptions['profile'], string, string, string, boolean]>([
    ['safe', 'x-filter', '{"name":"Smith , John"}', '{"name":"Smith,John"}', false],
    ['safe', 'accept-language', 'de , en', 'de,en', false],
    ['safe', 'accept', 'text/html, */*', 'text/html,*/*', false],
    ['rfc9111', 'x-filter', '{"name":"Smith , John"}', '{"name":"Smith,John"}', false],
    ['rfc9111', 'x-filter', 'a, b', 'a,b', false],
    ['rfc9111', 'accept', 'text/html;p="a , b"', 'text/html;p="a,b"', false],
    ['rfc9111', 'accept', 'text/html;p="\\" , b"', 'text/html;p="\\",b"', false],
    ['rfc9111', 'accept', 'text/html, */*', 'text/html,*/*', true],
    ['rfc9111', 'accept-charset', 'utf-8 , *', 'utf-8,*', true],
    ['rfc9111', 'accept-language', 'de , EN', 'de,en', true],
  ])('%s: %s: %s and %s are one variant: %5$s [B07, A08]', async (profile, name, one, other, isSame) => {
    for (const by of ['vary', 'rule']) {
      const made = await cacheApp({
        express,
        cache: {
          profile,
          routes: { '/x': { ttl: '1m', vary: { headers: by === 'rule' ? [name] : [] } } },
        },
        routes: (app, { count }) => app.get('/x', (_req, res) => void res.vary(name).send(`run ${count()}`)),
      });
      await made.get('/x', { [name]: one });
      expect((await made.get('/x', { [name]: other })).text).toBe(isSame ? 'run 1' : 'run 2');
    }
  });
});

describe('readCookies', () => {
  it.each(HEADERS)('finds the same cookie names in %j as the cookie package [A04]', (header) => {
    expect([...readCookies(header).keys()].sort()).toEqual(Object.keys(parse(header)).sort());
  });

  it('distinguishes a cookie without value, a malformed one and a missing one', () => {
    const values = ['theme=', 'theme', undefined].map((header) => readCookies(header).get('theme'));
    expect(values).toEqual(['', undefined, undefined]);
  });

  it('selects the original pairs, so a refresh sends what the key holds [H12]', () => {
    expect(selectCookies('sid=1; theme="a b"; lang=de; theme=c; theme', ['theme', 'lang'])).toBe(
      'theme="a b"; lang=de; theme=c',
    );
    expect(selectCookies('sid=1', ['theme'])).toBeUndefined();
  });
});
