import { Router } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { eventLoopCheck, postgresCheck, readinessGate } from '../../../src/admin/health/checks.js';
import { health } from '../../../src/admin/health/health.js';
import type { HealthOptions } from '../../../src/admin/health/options.js';
import type { HealthReport } from '../../../src/admin/health/report.js';
import { hotpath } from '../../../src/hotpath.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { majors, partOn4, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
const later = closeAfterEach();
afterEach(() => void vi.restoreAllMocks());

const hang: () => Promise<void> = () => new Promise(() => {});
const mayAll = () => true;

/** Checks with what they report. */
const FAULTS: readonly (readonly [name: string, check: () => unknown, status: string, reason: string])[] = [
  [
    'throws',
    () => {
      throw new Error('no');
    },
    'fail',
    'no',
  ],
  [
    'rejects',
    async () => {
      throw new Error('no');
    },
    'fail',
    'no',
  ],
  ['rejects with nothing', () => Promise.reject(), 'fail', 'undefined'],
  ['returns false', () => false, 'fail', 'returned false'],
  ['returns an error', () => new Error('no'), 'fail', 'no'],
  [
    'returns a response of fetch that is no success',
    () => new Response('no', { status: 503 }),
    'fail',
    'returned a response with status 503',
  ],
  ['hangs', () => new Promise(() => {}), 'fail', 'did not end within 0.05 s'],
  ['says warn', () => ({ status: 'warn', reason: 'slow' }), 'warn', 'slow'],
  [
    'has a thenable that throws',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: that is the case.
      get then(): unknown {
        throw new Error('then');
      },
    }),
    'fail',
    'then',
  ],
  [
    'shows a password',
    () => Promise.reject(new Error('at redis://u:pw@h\r\nx')),
    'fail',
    'at redis://***@h x',
  ],
  [
    'shows a strange password',
    () => Promise.reject(new Error('redis://:p/w@p@w@h')),
    'fail',
    'redis://***@h',
  ],
  [
    'shows a password at the end of a long reason',
    () => Promise.reject(new Error(`${'x'.repeat(280)} postgres://u:pwpwpwpwpw@h/db`)),
    'fail',
    `${'x'.repeat(280)} postgres://***@h/db`.slice(0, 300),
  ],
];

describe.each(majors)('health on %s', (major, express) => {
  async function alone(options?: HealthOptions) {
    const app = express();
    app.use(health(options));
    const { url, port } = await serve(app);
    const get = async (path: string, init?: RequestInit) => {
      const response = await fetch(url + path, init);
      return { response, status: response.status, text: (await response.text()).trim() };
    };
    const report = async (path = '/readyz') => JSON.parse((await get(path)).text) as HealthReport;
    return { get, report, port };
  }

  it('answers both paths with a bare status that nothing stores', async () => {
    const { get } = await alone({ checks: { a: () => true } });
    for (const path of ['/healthz', '/readyz', '/healthz?probe=1', '/readyz/']) {
      const { response, status, text } = await get(path);
      expect([path, status, text]).toEqual([path, 200, '{"status":"pass"}']);
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    }
    expect((await get('/healthz', { method: 'HEAD' })).text).toBe('');
    expect((await get('/healthz', { method: 'HEAD' })).response.headers.get('content-length')).toBe('18');
    expect((await get('/readyz', { method: 'POST' })).status).toBe(404);
    expect((await get('/api/healthz')).status).toBe(404);
  });

  it('works under other paths, under /api, at a sub path and in a router', async () => {
    const app = express();
    app.use(health({ prefixes: ['', '/api'], live: '/live', ready: false }));
    app.use('/internal', health());
    const router = Router();
    router.use(health({ ready: '/ok' }));
    app.use('/in/:tenant', router as never);
    const { url } = await serve(app);
    const status = async (path: string) => (await fetch(url + path)).status;
    const paths = ['/live', '/api/live', '/readyz', '/internal/readyz', '/in/a/ok', '/in/a/readyz'];
    expect(await Promise.all(paths.map(status))).toEqual([200, 200, 404, 200, 200, 404]);
  });

  it.each(FAULTS)('a check that %s breaks nothing [K04]', async (_, check, status, reason) => {
    const { report } = await alone({
      checks: { it: check, ok: () => {} },
      timeout: '50ms',
      authorize: mayAll,
    });
    const seen = await report();
    expect(seen).toMatchObject({ status, checks: { it: { status, reason }, ok: { status: 'pass' } } });
    expect(JSON.stringify(seen)).not.toMatch(/pw|p@w/);
  });

  it('is 503 only for a critical check, and warns of others', async () => {
    const fail = () => Promise.reject(new Error('down'));
    const degraded = await alone({ checks: { redis: { check: fail, critical: false } } });
    expect(await degraded.get('/readyz')).toMatchObject({ status: 200, text: '{"status":"warn"}' });
    const byFunction = await alone({ checks: { loop: Object.assign(fail, { critical: false }) } });
    expect((await byFunction.get('/readyz')).status).toBe(200);
    const down = await alone({ checks: { database: { check: fail, critical: true } } });
    expect(await down.get('/readyz')).toMatchObject({ status: 503, text: '{"status":"fail"}' });
    expect((await down.get('/healthz')).status).toBe(200);
  });

  it('tells reasons only to those whom authorize accepts', async () => {
    const checks = { a: () => Promise.reject(new Error('secret')) };
    const isAllowed = (req: { headers: Record<string, unknown> }) => req.headers['x-key'] === '1';
    for (const authorize of [undefined, isAllowed, () => 'yes', () => Promise.reject(new Error('x')), hang]) {
      const { get } = await alone({ checks, authorize: authorize as never, timeout: '50ms' });
      expect(await get('/readyz')).toMatchObject({ status: 503, text: '{"status":"fail"}' });
    }
    const { get } = await alone({ checks, authorize: isAllowed as never });
    expect((await get('/readyz', { headers: { 'x-key': '1' } })).text).toContain('secret');
  });

  it('runs a check once for a crowd, and keeps its result', async () => {
    let [calls, hanging] = [0, 0];
    const slow = () => new Promise((resolve) => setTimeout(resolve, 30, ++calls));
    const { get } = await alone({
      checks: { slow, hangs: () => hang().then(void hanging++) },
      timeout: '200ms',
      cacheFor: '1h',
    });
    const crowd = await Promise.all(Array.from({ length: partOn4(major, 200, 50) }, () => get('/readyz')));
    expect(new Set(crowd.map(({ status }) => status))).toEqual(new Set([503]));
    await get('/readyz');
    expect([calls, hanging]).toEqual([1, 1]);
  });

  it('does not call a check again until its last call has settled', async () => {
    let calls = 0;
    let settle: (() => void) | undefined;
    const check = () =>
      new Promise<void>((resolve) => {
        calls++;
        settle = resolve;
      });
    const { report } = await alone({ checks: { check }, timeout: '20ms', cacheFor: 0, authorize: mayAll });
    expect((await report()).checks.check!.reason).toContain('did not end');
    expect((await report()).checks.check!.reason).toContain('has not ended for');
    expect(calls).toBe(1);
    settle!();
    const again = report();
    await waitFor(() => calls === 2);
    settle!();
    expect((await again).status).toBe('pass');
  });

  it('tells of changes of the readiness once each', async () => {
    let isUp = true;
    const changes: unknown[] = [];
    const { get } = await alone({
      checks: { it: () => isUp },
      cacheFor: 0,
      onChange: ({ status, checks }) => {
        changes.push([status, checks.it?.reason]);
        throw new Error('a fault of the hook');
      },
    });
    for (const next of [true, false, false, true, false]) {
      isUp = next;
      await get('/readyz');
    }
    expect(changes).toEqual([
      ['fail', 'returned false'],
      ['pass', undefined],
      ['fail', 'returned false'],
    ]);
  });

  it.each([
    ['after hotpath', false],
    ['before hotpath', true],
  ])('is neither cached nor counted %s', async (_, isBefore) => {
    const perf = later(
      hotpath({
        metrics: { defaultMetrics: false },
        routes: { '/*path': { cache: { ttl: '1h', shared: true } } },
      }),
    );
    let calls = 0;
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const app = express();
    const endpoints = health({ checks: { it: () => ++calls > 1 }, cacheFor: 0, perf });
    const mounts = isBefore ? [endpoints, perf] : [perf, endpoints];
    for (const mount of mounts) app.use(mount);
    perf.attach(app);
    app.get('/page', (_req, res) => void res.send('page'));
    const { url } = await serve(app);
    const status = async (path: string) => (await fetch(url + path)).status;
    expect([await status('/readyz'), await status('/readyz'), await status('/healthz')]).toEqual([
      503, 200, 200,
    ]);
    await status('/page');
    expect([await status('/page'), perf.cache.stats().frontDoor.hits]).toEqual([200, 1]);
    expect(warnings.mock.calls).toEqual([]);
    const text = await perf.metrics.registry!.metrics();
    expect(text.match(/^http_requests_total\{.*/gm)).toHaveLength(1);
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === 2);
    expect(perf.telemetry!.routes().map(({ route }) => route)).toEqual(['/page']);
    expect(perf.telemetry!.snapshot().requests.active).toBe(0);
  });

  it('answers the absolute form of a target, and ignores a body', async () => {
    const { port } = await alone();
    const answer = await raw(port, 'GET http://a/healthz?x HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi');
    expect(answer.status).toBe(200);
  });
});

describe('checks', () => {
  const run = async (check: (context: never) => unknown) => {
    const endpoints = health({ checks: { check: check as never }, cacheFor: 0, timeout: '50ms' });
    return (await endpoints.read()).checks.check!;
  };

  it('of a PostgreSQL pool sends one statement with a time limit', async () => {
    const sent: unknown[] = [];
    const query = async (statement: unknown) => sent.push(statement);
    expect((await run(postgresCheck({ query }))).status).toBe('pass');
    expect(sent).toEqual([{ text: 'SELECT 1', query_timeout: 2000 }]);
  });

  it('of a gate passes once it is open', async () => {
    const gate = readinessGate('warming');
    expect(await run(gate)).toMatchObject({ status: 'fail', reason: 'warming' });
    gate.open();
    expect((await run(gate)).status).toBe('pass');
    gate.close('again');
    expect((await run(gate)).reason).toBe('again');
  });

  it('of the event loop warns while it is late', async () => {
    const check = eventLoopCheck({ delay: '20ms' });
    expect((await run(check)).status).toBe('pass');
    const block = setInterval(() => {
      const until = Date.now() + 60;
      while (Date.now() < until);
    }, 1);
    try {
      await waitFor(async () => (await run(check)).status === 'warn');
    } finally {
      clearInterval(block);
    }
    await waitFor(async () => (await run(check)).status === 'pass');
  });

  it.each([
    [{ checks: { a: 1 } }, 'checks.a'],
    [{ checks: { a: { check: 1 } } }, 'check'],
    [{ timeout: 0 }, 'timeout'],
    [{ live: '/a/:id' }, 'live'],
    [{ live: '/a', ready: '/a' }, 'ready'],
    [{ prefixes: ['api'] }, 'prefixes'],
    [{ nothing: 1 }, 'nothing'],
  ])('refuses %j at once, naming %s', (options, name) => {
    expect(() => health(options as never)).toThrow(name);
  });
});
