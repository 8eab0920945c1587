import type { RequestHandler } from 'express';
import { type HotpathConfig, hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask } from '../helpers/client.js';
import { listen, majors, waitFor } from '../helpers/http.js';
import { invariants } from '../helpers/invariants.js';

const check = invariants();
const SECRET = 'S3cr3t';

describe.each(majors)('log output, on %s', (_name, express) => {
  const lines: string[] = [];
  beforeEach(() => {
    lines.length = 0;
    for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
      vi.spyOn(console, method).mockImplementation((...args) => void lines.push(args.map(String).join(' ')));
    }
    vi.spyOn(process, 'emitWarning').mockImplementation((...args) => {
      lines.push(args.map((each) => (typeof each === 'string' ? each : JSON.stringify(each))).join(' '));
    });
    // Repeated faults within ten seconds share one line, and each test needs its own.
    delete (globalThis as Record<symbol, unknown>)[Symbol.for('hotpath.faults')];
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  async function serve(config: HotpathConfig, handler: RequestHandler): Promise<number> {
    const perf = hotpath({ metrics: { defaultMetrics: false }, ...config });
    const app = express();
    app.set('env', 'test');
    app.get('/health', (_req, res) => void res.send('ok'));
    app.use(perf);
    app.all(
      '/a/:id',
      perf.cache.purgeAfter(() => Promise.reject(new Error('no target'))),
      handler,
    );
    const { port, server, close } = await listen(app);
    check.watch({
      port,
      server,
      caches: [perf.cache],
      registries: [perf.metrics.registry!],
      async close() {
        await perf.close();
        await close();
      },
    });
    return port;
  }

  const personal = {
    Authorization: `Bearer ${SECRET}`,
    Cookie: `sid=${SECRET}; a=${SECRET}`,
    'X-Api-Key': SECRET,
    'Proxy-Authorization': `Basic ${SECRET}`,
    'X-Request-Id': 'an id',
    Referer: `http://a.example/?token=${SECRET}`,
    'Accept-Encoding': 'gzip',
  };

  it('holds no credential, cookie, query, body or cache key [K14]', async () => {
    const fail = () => {
      throw new Error('a hook that fails');
    };
    const port = await serve(
      {
        routes: { '/a/*path': { cache: { ttl: '1m', tags: fail, vary: { cookies: ['sid'] } } } },
        timing: { slow: 0.000001 },
        compression: { filter: fail as never },
      },
      (_req, res) => {
        res.cookie('sid', SECRET).set('X-Token', SECRET).send(SECRET.repeat(1000));
      },
    );
    for (const method of ['GET', 'POST', 'DELETE']) {
      for (const path of [`/a/1?token=${SECRET}`, `/nowhere?token=${SECRET}`, `/a/1?a#${SECRET}`]) {
        await ask(port, {
          path: encodeURI(path),
          method,
          headers: personal,
          body: method === 'GET' ? undefined : SECRET,
          agent: false,
        });
      }
    }
    await waitFor(() => lines.some((line) => line.includes('slow request')));
    expect(lines.some((line) => line.includes('failed; the request went on'))).toBe(true);
    expect(lines.join('\n')).not.toContain(SECRET);
  });

  it('limits a fault of every request to a few lines [K14]', async () => {
    const port = await serve(
      {
        routes: {
          '/a/*path': { cache: { ttl: '1m', partition: () => Promise.reject(new Error('down')) as never } },
        },
        timing: { slow: 0.000001 },
      },
      (_req, res) => void res.send('answered'),
    );
    for (let i = 0; i < 100; i++)
      await ask(port, {
        path: `/a/${i}`,
        method: i % 2 ? 'GET' : 'POST',
        body: i % 2 ? undefined : 'x',
        agent: false,
      });
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(10);
  });

  it('escapes client text: no forged line and no terminal control codes [K14]', async () => {
    const port = await serve({ timing: { slow: 0.000001 } }, (_req, res) => void res.send('answered'));
    await ask(port, {
      path: '/a/%0Ahotpath:%20slow%1B[31m',
      headers: { 'X-Request-Id': 'x\ty' },
      agent: false,
    });
    await waitFor(() => lines.length > 0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    for (const line of lines) expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f]/);
  });
});
