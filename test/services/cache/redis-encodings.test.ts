import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countStreams, countZlib, type EncodedApp, encodedApp, PAGE } from '../../helpers/encodings.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(() => server.stop());

const get = (made: EncodedApp, coding: string) => made.ask(coding, { headers: { Host: 'shop.example' } });
const statsOf = (made: EncodedApp) => made.perf.cache.stats();

describe.each(majors)('encoded forms of entries from Redis (%s)', (_, express) => {
  it('are made once, in the background after the first hit; later hits compress nothing', async () => {
    const redis = { url: server.url, readTimeout: 5, writeTimeout: 5 };
    const config = { cache: { redis }, compression: {} };
    const first = await encodedApp(express, { config });
    const second = await encodedApp(express, { config });
    await Promise.all([first, second].map((made) => waitFor(() => statsOf(made).redis!.log.shares)));
    await get(first, 'identity');
    await waitFor(() => (statsOf(first).redis!.operations.set?.answered ?? 0) > 0);

    for (const coding of ['br', 'gzip']) {
      const { made } = statsOf(second).encodings;
      const got = await get(second, coding);
      expect([got.header('x-cache'), got.header('content-encoding')]).toEqual(['HIT', coding]);
      expect(got.body.toString()).toBe(PAGE);
      await waitFor(() => statsOf(second).encodings.made === made + 1);
    }
    const zlib = countZlib();
    const streams = countStreams();
    for (const coding of ['br', 'gzip', 'br', 'gzip']) {
      const got = await get(second, coding);
      expect([got.header('x-cache'), got.header('content-encoding')]).toEqual(['HIT', coding]);
      expect(got.header('content-length')).toBe(String(got.coded.length));
      expect(got.body.toString()).toBe(PAGE);
    }
    expect([streams(), second.runs()]).toEqual([0, 0]);
    // Only the clients call zlib, to decode the responses.
    expect(zlib()).toBe(4);
    expect(statsOf(second).encodings).toMatchObject({ made: 2, useless: 0, waiting: 0 });
  });
});
