import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { health, postgresCheck } from '../../../src/admin/index.js';
import { hotpath } from '../../../src/hotpath.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { waitFor } from '../../helpers/http.js';
import { startPostgres } from '../../helpers/postgres.js';
import { RedisServer } from '../../helpers/redis.js';

const later = closeAfterEach();

describe('health with real services', () => {
  it('warns while Redis hangs or is gone, and passes once it is back', async () => {
    const server = await RedisServer.start();
    later(server);
    const perf = later(hotpath({ cache: { redis: { url: server.url } } }));
    const endpoints = health({ checks: { redis: perf.cache.check }, cacheFor: '20ms' });
    const status = async () => (await endpoints.read()).status;
    await waitFor(async () => (await status()) === 'pass');
    server.pause();
    await waitFor(async () => (await status()) === 'warn');
    expect((await endpoints.read()).checks.redis!.reason).toMatch(/^Redis does not reply: (?:timeout|open)$/);
    server.resume();
    await waitFor(async () => (await status()) === 'pass');
    const critical = health({ checks: { redis: { check: perf.cache.check, critical: true } } });
    await server.stop();
    await waitFor(async () => (await status()) === 'warn');
    expect((await critical.read()).status).toBe('fail');
  });

  it('passes without Redis, and without a cache', async () => {
    const without = [later(hotpath()), later(hotpath({ cache: false }))];
    const checks = { memory: without[0]!.cache.check, off: without[1]!.cache.check };
    expect((await health({ checks }).read()).status).toBe('pass');
  });

  it('fails while PostgreSQL hangs or its pool is empty, with one waiting statement at most', async () => {
    const postgres = later(await startPostgres());
    const url = new URL(await postgres.createDatabase('health'));
    const proxy = later(await FaultProxy.start(Number(url.port)));
    url.port = String(proxy.port);
    const pool = new pg.Pool({ connectionString: url.href, max: 2 });
    pool.on('error', () => {});
    later({ close: () => pool.end() });
    const endpoints = health({
      checks: { database: postgresCheck(pool) },
      cacheFor: '20ms',
      timeout: '300ms',
    });
    const status = async () => (await endpoints.read()).status;
    await waitFor(async () => (await status()) === 'pass');
    const held = await Promise.all([pool.connect(), pool.connect()]);
    await waitFor(async () => (await status()) === 'fail');
    await status();
    expect(pool.waitingCount).toBe(1);
    for (const client of held) client.release();
    await waitFor(async () => (await status()) === 'pass');
    proxy.set({ blackHole: 'both' });
    await waitFor(async () => (await status()) === 'fail');
    proxy.set({});
    await waitFor(async () => (await status()) === 'pass');
  });
});
