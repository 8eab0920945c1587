import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import type { WarmingContext, WarmingTaskOptions } from 'hotpath/warming';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerFrom } from '../../helpers/cache.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { gate } from '../../helpers/gate.js';
import { listen, majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';
import { type Child, startChild } from '../../process/child.js';

const ORIGIN = 'http://shop.example';
const host = { Host: 'shop.example' };
const later = closeAfterEach();

let server: RedisServer;
const children: Child[] = [];
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill('SIGKILL');
  await server.stop();
});

/** On a shared machine, Redis itself may need longer than the default. */
const redis = () => ({ url: server.url, readTimeout: 5, writeTimeout: 5 });

describe.each(majors)('warming on instances with one Redis (%s)', (_name, express) => {
  /** An instance with an app. */
  function instance(config: HotpathConfig['cache'] = { redis: redis() }) {
    const runs: string[] = [];
    const perf = later(
      hotpath({
        routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } },
        metrics: false,
        cache: config,
      }),
    );
    const app = express();
    app.use(perf);
    perf.attach(app);
    app.get('/items/:id', (req, res) => {
      runs.push(req.originalUrl);
      res.type('text').send(`${req.originalUrl} `.repeat(100));
    });
    return { perf, app, runs };
  }
  const warm = (perf: Hotpath, more: Partial<WarmingTaskOptions> = {}) => {
    perf.warming.register({ name: 'items', urls: ['/items/1', '/items/2'], critical: true, ...more });
    return perf.warming.start({ origins: [ORIGIN] });
  };

  it('runs each handler once, although each instance warms its memory at the start', async () => {
    const [a, b] = [instance(), instance()];
    const results = await Promise.all([warm(a.perf), warm(b.perf)]);
    expect(results.flat().map(({ state }) => state)).toEqual(['succeeded', 'succeeded']);
    expect([...a.runs, ...b.runs].sort()).toEqual(['/items/1', '/items/2']);
    for (const { perf, app } of [a, b]) {
      const { port } = later(await listen(app));
      expect((await answerFrom(port, { path: '/items/1', headers: host })).xCache).toBe('HIT');
      expect(perf.cache.stats().memory.hits).toBe(1);
    }
  });

  it('runs each handler once when Redis is far away', async () => {
    const proxy = later(await FaultProxy.start(server.port));
    proxy.set({ latency: 40 });
    const far = { redis: { ...redis(), url: proxy.url } };
    const [a, b] = [instance(far), instance(far)];
    await Promise.all([warm(a.perf), warm(b.perf)]);
    expect([...a.runs, ...b.runs].sort()).toEqual(['/items/1', '/items/2']);
  });

  it('skips a run that another instance has made lately, and shows when', async () => {
    const [a, b] = [instance(), instance()];
    await warm(a.perf);
    await warm(b.perf, { critical: false });
    await waitFor(() => b.perf.warming.tasks()[0]?.last_run_elsewhere);
    const [task] = b.perf.warming.tasks();
    expect(task).toMatchObject({ execution_count: 0, last_run: null });
    expect(Math.abs(task!.last_run_elsewhere! - a.perf.warming.tasks()[0]!.last_success!)).toBeLessThan(5000);
    // Asked to run it now, it does.
    expect(await b.perf.warming.run()).toMatchObject([{ state: 'succeeded' }]);
  });

  it('warms other URLs of the same name, such as those of a new version', async () => {
    const [a, b] = [instance(), instance()];
    await warm(a.perf);
    await warm(b.perf, { critical: false, urls: ['/items/3'] });
    await waitFor(() => b.perf.warming.tasks()[0]?.success_count === 1);
    expect(b.runs).toEqual(['/items/3']);
  });

  it('remembers the hottest URLs in Redis over a restart', async () => {
    const keys: WarmingTaskOptions = { name: 'keys', topKeys: 5, critical: true };
    const first = instance();
    first.perf.warming.register(keys);
    expect(await first.perf.warming.start()).toMatchObject([{ state: 'succeeded' }]);
    const { port } = later(await listen(first.app));
    for (const path of ['/items/7', '/items/7?a=1', '/items/7'])
      await answerFrom(port, { path, headers: host });
    await answerFrom(port, { path: '/items/7?a=1', headers: host });
    await first.perf.close();
    const second = instance();
    await second.perf.cache.purge({ all: true });
    second.perf.warming.register(keys);
    expect(await second.perf.warming.start()).toMatchObject([{ state: 'succeeded' }]);
    expect(second.runs.sort()).toEqual(['/items/7', '/items/7?a=1']);
  });

  it('goes on by itself when Redis is killed in the middle, and while it is gone', async () => {
    const { opened, open } = gate();
    const { perf, app, runs } = instance({ redis: { url: server.url } });
    app.get('/slow', perf.cache.route({ ttl: '1h' }), async (_req, res) => {
      runs.push('/slow');
      await opened;
      res.send('slow');
    });
    perf.warming.register({ name: 'slow', urls: ['/slow'], critical: true });
    const started = perf.warming.start({ origins: [ORIGIN] });
    await waitFor(() => runs.length === 1);
    await server.kill();
    open();
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
    expect(await perf.warming.run()).toMatchObject([{ state: 'succeeded' }]);
    const { port } = later(await listen(app));
    expect((await answerFrom(port, { path: '/slow', headers: host })).status).toBe(200);
  });
});

describe('the lease of a task', () => {
  const instance = (task: WarmingTaskOptions['task']) => {
    const perf = later(hotpath({ metrics: false, cache: { redis: redis() } }));
    perf.warming.register({ name: 'one', task, critical: true, timeout: '1h', retries: 0 });
    return perf;
  };
  const lease = async () => {
    const [name] = (await server.command('KEYS', '*{warming}:lease:*')) as string[];
    return name === undefined ? -2 : Number(await server.command('PTTL', name));
  };
  const untilAborted = ({ signal }: WarmingContext) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });

  it('is renewed, and goes to another instance when its holder dies', async () => {
    const holder = await startChild('warming', { REDIS_URL: server.url });
    children.push(holder);
    let last = await lease();
    await waitFor(async () => {
      const before = last;
      last = await lease();
      return last > before;
    });
    let runs = 0;
    const other = instance(() => runs++);
    const started = other.warming.start();
    await waitFor(() => other.warming.check().status === 'fail');
    expect(runs).toBe(0);
    holder.process.kill('SIGKILL');
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
    expect(await lease()).toBe(-2);
  });

  it('is released by stop(), so that another instance goes on at once', async () => {
    const holder = instance(untilAborted);
    const first = holder.warming.start();
    await waitFor(async () => (await lease()) > 0);
    const other = instance(() => {});
    const started = other.warming.start();
    await holder.warming.stop();
    expect(await first).toMatchObject([{ state: 'stopped' }]);
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
  });

  it('is not waited for after stop()', async () => {
    const holder = instance(untilAborted);
    void holder.warming.start();
    await waitFor(async () => (await lease()) > 0);
    const other = instance(() => {});
    const started = other.warming.start();
    await other.warming.stop();
    expect(await started).toMatchObject([{ state: 'stopped' }]);
  });

  it('is not needed while Redis hangs', async () => {
    const perf = later(hotpath({ metrics: false, cache: { redis: { url: server.url } } }));
    await waitFor(() => perf.cache.stats().redis?.ready);
    server.pause();
    perf.warming.register({ name: 'one', task: () => {}, critical: true });
    expect(await perf.warming.start()).toMatchObject([{ state: 'succeeded' }]);
    server.resume();
  });
});

it('remembers the hottest URLs in Redis rather than in a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hotpath-warming-'));
  const perf = hotpath({ metrics: false, cache: { redis: redis() } });
  perf.attach(majors[0]![1]());
  perf.warming.register({ name: 'keys', topKeys: { file: join(folder, 'keys') }, critical: true });
  await perf.warming.start();
  await perf.close();
  expect(await server.command('EXISTS', 'hotpath:{warming}:top')).toBe(1);
  rmSync(folder, { recursive: true });
});
