import { createServer } from 'node:http';
import type { RequestHandler } from 'express';
import { type HotpathConfig, hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { ask } from '../helpers/client.js';
import { listen, majors, partOn4, raw } from '../helpers/http.js';
import { invariants } from '../helpers/invariants.js';

const check = invariants();
const LENGTH = 16 * 1024;

/** Values of about this length that cause backtracking in a careless grammar. */
const values: Record<string, (length: number) => string> = {
  commas: (length) => `x${','.repeat(length)}x`,
  blanks: (length) => `x${' '.repeat(length)}x`,
  tabs: (length) => `x${'\t'.repeat(length)}x`,
  'blanks before commas': (length) => `x${'  ,'.repeat(length / 3)}x`,
  'blanks, then what can not follow': (length) => `max-age=1${' '.repeat(length)}"`,
  'opened quotes': (length) => `a="${'\\"'.repeat(length / 2)}`,
  'quotes in quotes': (length) => `${'"a,'.repeat(length / 3)}x`,
  backslashes: (length) => `a="${'\\'.repeat(length)}`,
  tags: (length) => `${'W/"a",'.repeat(length / 6)}W/"`,
  'tags without end': (length) => 'W/"'.repeat(length / 3),
  qualities: (length) => `${'gzip;q=0.001,'.repeat(length / 13)}*;q=0.`,
  semicolons: (length) => `gzip${';'.repeat(length)}q=1`,
  equals: (length) => `a${'='.repeat(length)}b`,
  names: (length) => Array.from({ length: length / 5 }, (_, i) => `n${(i + 1000).toString(36)}`).join(','),
  digits: (length) => `max-age=${'9'.repeat(length)}`,
  ranges: (length) => `bytes=${'0-,'.repeat(length / 3)}0-`,
  directives: (length) => `${'no-cache="set-cookie, ",'.repeat(length / 24)}a`,
  cookies: (length) => 'a=b; '.repeat(length / 5),
  nonces: (length) => `script-src ${"'nonce".repeat(length / 6)}`,
};

const ofRequests = [
  'Accept-Encoding',
  'If-None-Match',
  'If-Modified-Since',
  'If-Range',
  'Range',
  'Cache-Control',
  'X-Request-Id',
  'Cookie',
  'Authorization',
  'Origin',
  'X-Varied',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'Forwarded',
  'Content-Encoding',
  'Content-Type',
];
const ofResponses = [
  'Cache-Control',
  'Vary',
  'ETag',
  'Last-Modified',
  'Expires',
  'Date',
  'Age',
  'Pragma',
  'Connection',
  'Server-Timing',
  'Cache-Status',
  'Content-Type',
  'Content-Encoding',
  'Content-Security-Policy',
  'Access-Control-Allow-Origin',
];

describe.each(majors)('hostile input, on %s', (major, express) => {
  async function serve(config: HotpathConfig, handler: RequestHandler) {
    const app = express();
    app.set('trust proxy', true);
    app.get('/health', (_req, res) => void res.send('ok'));
    const perf = hotpath({ metrics: { defaultMetrics: false }, ...config });
    app.use(perf);
    app.get('/a', handler);
    const server = await listen(createServer({ maxHeaderSize: 256 * 1024 }, app));
    check.watch({
      port: server.port,
      server: server.server,
      caches: [perf.cache],
      registries: [perf.metrics.registry!],
      async close() {
        await perf.close();
        await server.close();
      },
    });
    return { port: server.port, perf };
  }

  /** Milliseconds of CPU time, which other processes do not affect. */
  async function spent(run: () => Promise<void>): Promise<number> {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  }

  async function expectLinear(what: string, run: (length: number) => Promise<void>): Promise<void> {
    let half = Number.POSITIVE_INFINITY;
    let whole = Number.POSITIVE_INFINITY;
    // Twice the length should take twice the time; quadratic code takes four times as long in every run. So the
    // minimum of many runs counts, because the collector and the compiler slow some of them down.
    for (let attempt = 0; attempt < 12 && !(whole < 3 * half + 15); attempt++) {
      whole = Math.min(whole, await spent(() => run(LENGTH)));
      // Short enough at any ratio.
      if (whole < 15) return;
      for (let i = 0; i < 3; i++) half = Math.min(half, await spent(() => run(LENGTH / 2)));
      for (let i = 0; i < 2; i++) whole = Math.min(whole, await spent(() => run(LENGTH)));
    }
    expect(whole, `${what}: ${half} ms for half of it`).toBeLessThan(3 * half + 15);
  }

  /** On Express 4, each header meets a quarter of the values, and each value a quarter of the headers. */
  const valuesFor = (header: number) =>
    Object.entries(values).filter((_, i) => partOn4(major, true, (i + header) % 4 === 0));

  const rule = {
    ttl: '1m',
    vary: { headers: ['x-varied'], cookies: ['a'] },
  } as const;

  it.each(ofRequests)('reads 16 kB of %s from a client in linear time [K08]', async (name) => {
    const { port } = await serve({ routes: { '/a': { cache: rule } } }, (_req, res) => {
      res.set('ETag', '"x"').type('text').send('body'.repeat(1000));
    });
    let n = 0;
    for (const [kind, make] of valuesFor(ofRequests.indexOf(name))) {
      await expectLinear(`${name}: ${kind}`, async (length) => {
        // A miss, and then a hit that reads the value again.
        const path = `/a?${n++}`;
        const headers = { 'Accept-Encoding': 'gzip', [name]: make(length) };
        for (let i = 0; i < 2; i++) {
          const { status } = await ask(port, { path, headers, agent: false });
          if (status === 0) expect(status).not.toBe(0);
        }
      });
    }
  });

  it.each(ofResponses)('reads 16 kB of %s from the app in linear time [K08]', async (name) => {
    let value = '';
    const { port } = await serve({ routes: { '/a': { cache: { ttl: '1m' } } } }, (_req, res) => {
      res.statusCode = 200;
      res.setHeader(name, value);
      res.end('body'.repeat(1000));
    });
    let n = 0;
    for (const [kind, make] of valuesFor(ofResponses.indexOf(name))) {
      await expectLinear(`${name}: ${kind}`, async (length) => {
        value = make(length);
        const path = `/a?${n++}`;
        const headers = { 'Accept-Encoding': 'gzip', 'If-None-Match': '"a"' };
        await raw(port, `GET ${path} HTTP/1.1\nHost: a\nConnection: close\nAccept-Encoding: gzip\n\n`);
        await raw(
          port,
          `GET ${path} HTTP/1.1\nHost: a\nConnection: close\nIf-None-Match: ${headers['If-None-Match']}\n\n`,
        );
      });
    }
  });

  const names = [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'valueOf',
    '__defineGetter__',
  ];
  it.each(names)(
    'treats `%s` as an ordinary name of a header, parameter or cookie, and in Vary [K09]',
    async (name) => {
      let runs = 0;
      const { port, perf } = await serve(
        {
          routes: {
            '/a': { cache: { ttl: '1m', vary: { headers: [name], cookies: [name] }, tags: [name] } },
          },
        },
        (_req, res) => {
          runs++;
          res.set('Vary', name).set(name, 'x').type('text').send(`run ${runs}`);
        },
      );
      const get = (value: string) =>
        raw(
          port,
          `GET /a?${name}=${value} HTTP/1.1\nHost: a\n${name}: ${value}\nCookie: ${name}=${value}\nAccept-Encoding: ${name}\nX-Request-Id: ${name}\nCache-Control: ${name}=1\n\n`,
        );
      expect((await get('x')).text).toBe('run 1');
      expect((await get('x')).text).toBe('run 1');
      expect((await get('y')).text).toBe('run 2');
      await perf.cache.purge({ tag: name });
      expect((await get('x')).text).toBe('run 3');
      expect(({} as Record<string, unknown>).x).toBeUndefined();
    },
  );

  it('gives the handler the keyed query, and a logger the original query [K07]', async () => {
    const seen: unknown[] = [];
    const { port } = await serve(
      { routes: { '/a': { cache: { ttl: '1m', ignoreQuery: ['utm_*'] } } } },
      (req, res) => {
        res.on('finish', () => seen.push([req.originalUrl, { ...req.query }]));
        res.json({ ...req.query });
      },
    );
    const path = '/a?a=1&utm_source=x&b[]=2';
    const got = await ask(port, { path, agent: false });
    expect(Object.keys(JSON.parse(got.body.toString())).sort()).toContain('a');
    expect(got.body.toString()).not.toContain('utm');
    expect(seen).toMatchObject([[path, { a: '1', utm_source: 'x' }]]);
  });
});
