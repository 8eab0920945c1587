import { beforeEach, describe, expect, it } from 'vitest';
import { Codec, FORMAT } from '../../../../src/store/redis/codec/frame.js';
import type { SharedPositions } from '../../../../src/store/redis/redis-store.js';
import type { StoredResponse } from '../../../../src/store/stored-response.js';
import { closeAfterEach } from '../../../helpers/close-after-each.js';
import { nextTurn } from '../../../helpers/event-loop.js';
import { FaultProxy } from '../../../helpers/fault-proxy.js';
import { RedisServer, redisMajors, until } from '../../../helpers/redis.js';
import { RedisMonitor } from '../../../helpers/redis-monitor.js';
import { itemOf } from '../../../store/contract.js';
import { openStore } from '../../../store/redis/open-store.js';

const minute = 60_000;
const closeLater = closeAfterEach();

describe.each(redisMajors)('the Redis tier with %s', (_, module) => {
  let server: RedisServer;

  beforeEach(async () => {
    server = closeLater(await RedisServer.start());
  });

  const start = async (
    ...args: Parameters<typeof openStore> extends [unknown, unknown, (infer S)?] ? [S?] : never
  ) => closeLater(await openStore(module, { url: server.url }, ...args));
  const keys = async () => (await server.command('KEYS', '*')) as string[];
  const onlyKey = async () => {
    const all = await keys();
    expect(all).toHaveLength(1);
    return all[0]!;
  };

  it('uses a short Redis key with prefix and format, for any key [B17, G13]', async () => {
    const { store } = await start({ store: { prefix: 'shop:' } });
    const long = `GET https://shop.example/${'x'.repeat(15_000)}`;
    await store.set(long, itemOf(long), minute);
    expect(await onlyKey()).toMatch(new RegExp(`^shop:${FORMAT}:[\\w-]{43}$`));
  });

  it('keeps two apps on one Redis apart [B19]', async () => {
    const one = await start({ store: { prefix: 'one:' } });
    const two = await start({ store: { prefix: 'two:' } });
    await one.store.set('k', itemOf('k'), minute);
    expect(await two.store.get('k')).toBeUndefined();
    await two.store.delete('k');
    expect(await one.store.get('k')).toBeDefined();
  });

  it.each([
    [1, 1, 1],
    [0.2, 1, 1],
    [1500.4, 1400, 1501],
    [30 * 86_400_000, 30 * 86_400_000 - 60_000, 30 * 86_400_000],
    [365 * 86_400_000, 365 * 86_400_000 - 60_000, 365 * 86_400_000],
    [Number.POSITIVE_INFINITY, 3649 * 86_400_000, 3650 * 86_400_000],
    [Number.MAX_SAFE_INTEGER, 3649 * 86_400_000, 3650 * 86_400_000],
  ])('sends Redis a valid time to live for a ttl of %s ms [G15, G16, G17]', async (ttl, least, most) => {
    const { store } = await start();
    const begun = performance.now();
    expect(await store.set('k', itemOf('k'), ttl)).toBe(true);
    if (most <= 1) {
      await until(async () => (await store.get('k')) === undefined, 'it has expired');
      return;
    }
    const left = Number(await server.command('PTTL', await onlyKey()));
    expect(left).toBeLessThanOrEqual(most);
    // A busy machine may take a part of a short ttl.
    expect(left + performance.now() - begun).toBeGreaterThanOrEqual(least);
  });

  it('stores nothing for a ttl that is 0, negative or no number [G15]', async () => {
    const { store } = await start();
    for (const ttl of [0, -5, Number.NaN, Number.NEGATIVE_INFINITY])
      expect(await store.set('k', itemOf('k'), ttl)).toBe(false);
    expect(await keys()).toEqual([]);
    expect(store.stats().refused.get('ttl')).toBe(4);
  });

  it('gives every key a time to live, and never scans keys [G16, G27]', async () => {
    const watched = closeLater(await RedisMonitor.start(server));
    const { store } = await start();
    await store.set('k', itemOf('k'), minute);
    await store.set('v', { kind: 'variants', names: ['accept'], keys: ['k'] }, minute);
    await store.get('k');
    await store.get('none');
    await store.delete('none');
    await store.lease('k', 'token', minute);
    const all = await keys();
    expect(all).toHaveLength(3);
    for (const key of all) expect(Number(await server.command('PTTL', key))).toBeGreaterThan(0);
    await store.release('k', 'token');
    await until(() => watched.names.includes('EVAL'), 'the last command was seen');
    for (const own of ['SET', 'GETRANGE', 'UNLINK']) expect(watched.names).toContain(own);
    for (const forbidden of ['SCAN', 'FLUSHDB', 'FLUSHALL']) expect(watched.names).not.toContain(forbidden);
    expect(watched.names.filter((name) => name === 'KEYS')).toHaveLength(1); // the command of this test
  });

  it('stores no value over the limit [G34]', async () => {
    const { store } = await start({ store: { maxEntryBytes: 1000 } });
    expect(await store.set('k', itemOf('k', { body: Buffer.alloc(1001) }), minute)).toBe(false);
    expect(await keys()).toEqual([]);
    expect(store.stats().refused.get('too-large')).toBe(1);
    expect(await store.set('k', itemOf('k', { body: Buffer.alloc(1000) }), minute)).toBe(true);
    expect(await store.get('k')).toBeDefined();
  });

  it('reads at most the entry limit of a huge foreign value, and deletes it [G11, G34]', async () => {
    const { store } = await start({ store: { maxEntryBytes: 1000 } });
    await store.set('k', itemOf('k'), minute);
    const name = await onlyKey();
    await server.command('SETRANGE', name, 100 * 1024 ** 2, 'x');
    expect(await store.get('k')).toBeUndefined();
    expect(store.stats().bytesRead).toBeLessThan(2 * 1024 ** 2);
    await until(async () => (await keys()).length === 0, 'it is deleted');
  });

  it('misses an entry over its own limit, and keeps it for other instances [G34]', async () => {
    const small = await start({ store: { maxEntryBytes: 1000 } });
    const large = await start({ store: { maxEntryBytes: 5 * 1024 ** 2 } });
    await large.store.set('k', itemOf('k', { body: Buffer.alloc(3 * 1024 ** 2) }), minute);
    expect(await small.store.get('k')).toBeUndefined();
    expect([...small.store.stats().unusable]).toEqual([['too-large', 1]]);
    expect(await large.store.get('k')).toBeDefined();
  });

  it.each<[string, string, (frame: Buffer) => Buffer]>([
    ['cut short', 'truncated', (frame) => frame.subarray(0, frame.length - 1)],
    ['empty but for a byte', 'truncated', () => Buffer.from('x')],
    ['with a bit changed', 'checksum', (frame) => patched(frame, frame.length - 1)],
    ['of a later format', 'version', (frame) => patched(frame, 4)],
    ['of someone else', 'shape', () => Buffer.from('{"status":200,"headers":{"__proto__":{"x":"y"}}}')],
    [
      'of another key',
      'key',
      () =>
        new Codec({ toShared: (x) => x, fromShared: (x) => x }).encode('other', itemOf('other'), {
          epoch: 'epoch',
          position: 1,
        })!,
    ],
  ])('misses, counts and deletes a value %s [G11, G35]', async (_, reason, change) => {
    const { store } = await start();
    await store.set('k', itemOf('k'), minute);
    const name = await onlyKey();
    const client = new module.Redis(server.url);
    try {
      const frame = (await client.getBuffer(name))!;
      await client.set(name, change(frame), 'KEEPTTL');
    } finally {
      client.disconnect();
    }
    expect(await store.get('k')).toBeUndefined();
    expect([...store.stats().unusable]).toEqual([[reason, 1]]);
    await until(async () => (await keys()).length === 0, 'it is deleted');
    expect(await store.set('k', itemOf('k'), minute)).toBe(true);
    expect(await store.get('k')).toBeDefined();
  });

  it('misses and replaces a value of another type, with the breaker closed [G10]', async () => {
    const { store } = await start();
    await store.set('k', itemOf('k'), minute);
    const name = await onlyKey();
    await server.command('DEL', name);
    await server.command('RPUSH', name, 'a', 'b');
    for (let i = 0; i < 50; i++) expect(await store.get('k')).toBeUndefined();
    expect(store.stats()).toMatchObject({ reads: 'closed', writes: 'closed' });
    expect(store.stats().unusable.get('wrongtype')).toBe(50);
    expect(await store.set('k', itemOf('k'), minute)).toBe(true);
    expect(await store.get('k')).toBeDefined();
  });

  it('misses an entry of another log epoch, and keeps it for instances that are ahead', async () => {
    let epoch = 'first';
    const positions: SharedPositions = {
      toShared: (stamp) => ({ epoch, position: stamp }),
      fromShared: (stamp) => (stamp.epoch === epoch ? stamp.position : undefined),
    };
    const { store } = await start({ store: { positions } });
    await store.set('k', itemOf('k', { stamp: 42 }), minute);
    expect(((await store.get('k')) as StoredResponse).stamp).toBe(42);
    epoch = 'second';
    expect(await store.get('k')).toBeUndefined();
    expect(store.stats().unusable.get('epoch')).toBe(1);
    epoch = 'first';
    expect(await store.get('k')).toBeDefined();
  });

  it('does not write an item whose stamp has no shared position', async () => {
    const positions = { toShared: () => undefined, fromShared: () => undefined };
    const { store } = await start({ store: { positions } });
    expect(await store.set('k', itemOf('k'), minute)).toBe(false);
    expect(store.stats().refused.get('position')).toBe(1);
    expect(await keys()).toEqual([]);
  });

  it('neither writes, reads nor deletes while the clock of Redis is unknown', async () => {
    const one = await start();
    await one.store.set('k', itemOf('k'), minute);
    const { ServerClock } = await import('../../../../src/store/redis/server-clock.js');
    const { store } = await start({ store: { clock: new ServerClock() } });
    expect(await store.get('k')).toBeUndefined();
    expect(await store.set('k2', itemOf('k2'), minute)).toBe(false);
    expect(await one.store.get('k')).toBeDefined();
    expect(await keys()).toHaveLength(1);
  });

  it('shares one command among simultaneous requests for a key, and not with later ones', async () => {
    const { store } = await start();
    await store.set('k', itemOf('k'), minute);
    const items = await Promise.all(Array.from({ length: 100 }, () => store.get('k')));
    expect(new Set(items).size).toBe(1);
    expect(store.stats().operations.get('get')!.sent).toBe(1);
    await store.get('k');
    expect(store.stats().operations.get('get')!.sent).toBe(2);
  });

  it('counts hits, misses, bytes and time', async () => {
    const { store } = await start();
    await store.set('k', itemOf('k', { body: Buffer.alloc(5000) }), minute);
    await store.get('k');
    await store.get('none');
    const stats = store.stats();
    expect(stats).toMatchObject({ hits: 1, misses: 1, isReady: true, outstanding: 0, late: 0 });
    expect(stats.bytesWritten).toBeGreaterThan(5000);
    expect(stats.bytesRead).toBe(stats.bytesWritten);
    const get = stats.operations.get('get')!;
    expect(get).toMatchObject({ sent: 2, answered: 2 });
    expect(get.latency).toBeGreaterThan(0);
    expect(get.unavailable.size).toBe(0);
  });

  describe('leases', () => {
    const leases = async () => (await keys()).filter((name) => name.includes('lease')).length;

    it('has one holder at a time, and only the holder releases it [H06]', async () => {
      const { store } = await start();
      const other = (await start()).store;
      expect(await leases()).toBe(0);
      const taken = await Promise.all(
        Array.from({ length: 50 }, (_, i) => (i % 2 ? store : other).lease('k', `t${i}`, minute)),
      );
      expect(taken.filter(Boolean)).toHaveLength(1);
      const holder = `t${taken.indexOf(true)}`;
      expect(await leases()).toBe(1);
      expect(await other.release('k', 'another')).toBe(false);
      expect(await leases()).toBe(1);
      expect(await other.release('k', holder)).toBe(true);
      expect(await leases()).toBe(0);
      expect(await store.lease('k', 'next', minute)).toBe(true);
      expect(await leases()).toBe(1);
    });

    it('expires when its holder dies [H05]', async () => {
      const { store } = await start();
      expect(await store.lease('k', 'dead', 50)).toBe(true);
      await until(async () => (await store.lease('k', 'next', minute)) === true, 'the lease has ended');
      expect(await store.release('k', 'dead')).toBe(false);
      expect(await leases()).toBe(1);
    });

    it('does not affect an entry of the same key', async () => {
      const { store } = await start();
      await store.lease('k', 'token', minute);
      expect(await store.get('k')).toBeUndefined();
      await store.set('k', itemOf('k'), minute);
      expect(await store.release('k', 'token')).toBe(true);
      expect(await store.get('k')).toBeDefined();
    });

    it('waits as long as a read for a hung Redis, not as long as a write [G03]', async () => {
      const { store } = await start({ bounds: { readTimeout: 50, writeTimeout: 1000 } });
      server.pause();
      const writing = store.set('k', itemOf('k'), minute).then(() => 'a write');
      expect(await Promise.race([writing, store.lease('k', 'token', minute)])).toBeUndefined();
      expect(await writing).toBe('a write');
    });

    it('returns undefined without Redis', async () => {
      const { store } = await start();
      await server.kill();
      expect(await store.lease('k', 'token', minute)).toBeUndefined();
      expect(await store.release('k', 'token')).toBeUndefined();
    });
  });

  it('never mixes up replies on a network that delays, loses and breaks connections [G07, G35]', async () => {
    const proxy = closeLater(await FaultProxy.start(server.port));
    const { store } = closeLater(
      await openStore(
        module,
        { url: proxy.url },
        { bounds: { readTimeout: 20, firstBackoff: 1, maxBackoff: 5, hungAfter: 100 } },
      ),
    );
    const direct = await start();
    const names = Array.from({ length: 200 }, (_, i) => `key ${i}`);
    await Promise.all(
      names.map((name) =>
        direct.store.set(name, itemOf(name, { body: Buffer.from(`body of ${name}`) }), minute),
      ),
    );
    const faults = [
      { latency: 15, jitter: 15 },
      {},
      { blackHole: 'replies' },
      {},
      { slice: 7 },
      { latency: 25 },
      {},
    ] as const;
    let hits = 0;
    // A busy machine may miss all of these deadlines, and with an open breaker rounds take almost no time. So rounds
    // without faults follow until there is a hit.
    const faultyRounds = 70;
    for (let round = 0; round < faultyRounds || hits === 0; round++) {
      await nextTurn();
      proxy.set(round < faultyRounds ? faults[round % faults.length]! : {});
      if (round < faultyRounds && round % 10 === 9) proxy.reset();
      const asked = names.filter((_, i) => (i + round) % 4 === 0);
      const items = await Promise.all(asked.map((name) => store.get(name)));
      for (const [index, item] of items.entries()) {
        if (!item) continue;
        hits++;
        expect((item as StoredResponse).body.toString()).toBe(`body of ${asked[index]}`);
      }
    }
    proxy.set({});
    await until(async () => (await store.get('key 7')) !== undefined, 'it answers again');
    expect([...store.stats().unusable]).toEqual([]);
  });
});

function patched(frame: Buffer, at: number): Buffer {
  frame[at]! ^= 0x10;
  return frame;
}
