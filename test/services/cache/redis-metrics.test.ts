import { hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

// On a shared machine, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };
const prefix = 'hotpath_cache_';

let server: RedisServer;
const open: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = await RedisServer.start();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
  await server.stop();
});

async function instance() {
  const perf = hotpath({
    cache: { redis: { url: server.url, ...patient } },
    routes: { '/items/:id': { cache: { ttl: '1m', tags: ['items'] } } },
  });
  const app = express5();
  app.use(perf);
  app.get('/items/:id', (_req, res) => void res.send('x'.repeat(1000)));
  const { url, close } = await listen(app);
  open.push(async () => {
    await perf.close();
    await close();
  });
  const ask = (path: string) => fetch(url + path);
  await waitFor(() => perf.cache.stats().redis!.log.shares);
  return { perf, ask, stats: () => perf.cache.stats(), show: () => samples(perf.metrics.registry!) };
}

/** The samples of the cache as Prometheus reads them, by name with labels. */
async function samples(registry: { metrics(): Promise<string> }): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith(prefix));
  return Object.fromEntries(
    lines.map((line) => {
      const space = line.lastIndexOf(' ');
      return [line.slice(prefix.length, space), Number(line.slice(space + 1))];
    }),
  );
}

describe('the metrics of the tiers and of the log', () => {
  it('show hits and misses per tier, Redis traffic and its duration', async () => {
    const { ask, stats, show } = await instance();
    await (await ask('/items/1')).text();
    await waitFor(() => stats().redis!.operations.set?.answered === 1);
    await (await ask('/items/1')).text();
    const shown = await show();
    expect(shown).toMatchObject({
      'tier_lookups_total{tier="memory",result="hit"}': 1,
      'tier_lookups_total{tier="memory",result="miss"}': 1,
      'tier_lookups_total{tier="redis",result="hit"}': 0,
      'tier_lookups_total{tier="redis",result="miss"}': 1,
      'tier_lookups_total{tier="redis",result="unusable"}': 0,
      stores_total: 1,
      memory_entries: stats().entries,
      memory_bytes: stats().bytes,
      redis_connected: 1,
      'redis_breaker_state{lane="reads"}': 0,
      'redis_breaker_state{lane="writes"}': 0,
      'redis_commands_total{operation="get",result="answered"}': 1,
      'redis_commands_total{operation="set",result="answered"}': 1,
      redis_written_bytes_total: stats().redis!.bytesWritten,
      redis_commands_in_progress: 0,
    });
    expect(shown.redis_written_bytes_total).toBeGreaterThan(1000);
    expect(shown['redis_command_seconds_total{operation="get"}']).toBeCloseTo(
      stats().redis!.operations.get!.seconds,
      9,
    );
    expect(shown['redis_command_seconds_total{operation="get"}']).toBeGreaterThan(0);
    expect(shown['redis_command_seconds_total{operation="get"}']).toBeLessThan(5);
  });

  it('show purges by selector, and the state of the log', async () => {
    const { perf, show } = await instance();
    const before = await show();
    await perf.cache.purge([{ tag: 'items' }, { url: '/items/1' }]);
    await perf.cache.expire({ tag: 'items' });
    const shown = await show();
    expect(shown).toMatchObject({
      'purges_total{kind="purge",by="tag"}': 1,
      'purges_total{kind="purge",by="url"}': 1,
      'purges_total{kind="purge",by="pattern"}': 0,
      'purges_total{kind="purge",by="all"}': 0,
      'purges_total{kind="expire",by="tag"}': 1,
      log_in_contact: 1,
      log_shares: 1,
      log_queued_records: 0,
      log_remembered_selectors: 3,
      log_position: perf.cache.stats().position,
    });
    await waitFor(async () => (await show()).log_records_total! - before.log_records_total! === 3);
  });

  it('show that Redis is disconnected, and how many records are queued', async () => {
    const { perf, ask, show } = await instance();
    await server.kill();
    await waitFor(() => !perf.cache.stats().redis!.ready);
    await (await ask('/items/2')).text();
    expect(await perf.cache.purge({ tag: 'items' })).toMatchObject({ acknowledged: false });
    const shown = await show();
    expect(shown).toMatchObject({ redis_connected: 0, log_shares: 0, log_queued_records: 1 });
  });

  it('show only the counters of a closed cache', async () => {
    const { perf, ask, show } = await instance();
    await (await ask('/items/1')).text();
    await perf.close();
    const shown = await show();
    expect(shown).toMatchObject({ 'requests_total{result="miss"}': 1, memory_entries: 0 });
    expect(shown['redis_breaker_state{lane="reads"}']).toBeUndefined();
  });
});
