import { describe, expect, it } from 'vitest';
import { VOID } from '../../../../src/store/invalidation/invalidation-log.js';
import { compileSelector, type Selector } from '../../../../src/store/invalidation/selector.js';
import { RedisLog, type RedisLogOptions } from '../../../../src/store/redis/log/redis-log.js';
import { ServerClock } from '../../../../src/store/redis/server-clock.js';
import type { Stamped } from '../../../../src/store/stored-response.js';
import { SimulatedLink, SimulatedServer } from '../../../helpers/simulated-redis.js';
import { randomOf, VirtualTime } from '../../../helpers/virtual-time.js';

const FRESH = Number.POSITIVE_INFINITY;

/** Instances on one simulated Redis, under a clock that the test moves. */
class Site {
  readonly time = new VirtualTime(randomOf(7));
  server: SimulatedServer;
  isUp = true;

  constructor(isNamed = true) {
    this.server = new SimulatedServer(this.time, { maxRecords: 100, isNamed });
  }

  async join(options: Partial<RedisLogOptions> = {}) {
    const link = () => new SimulatedLink(this.time, () => (this.isUp ? this.server : undefined), 2);
    const follower = link();
    const writer = link();
    const clock = new ServerClock();
    const log = new RedisLog({ follower, writer, clock, timers: this.time, ...options });
    await this.time.run(2000);
    const entry = (fields: Partial<Stamped> = {}): Stamped => ({
      stamp: log.position,
      storedAt: this.time.now(),
      tags: ['x'],
      url: '/a',
      path: '/a',
      ...fields,
    });
    const record = async (kind: 'purge' | 'expire', selector: Selector, wait = 3000) => {
      const done = log.record(kind, compileSelector(selector));
      await this.time.run(wait);
      return done;
    };
    return { log, follower, writer, entry, record };
  }
}

describe('the log on a Redis Stream', () => {
  it('acknowledges a purge, and voids older entries on every instance, nothing else [H07]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const [here, there, other] = [a.entry(), b.entry(), b.entry({ tags: ['y'] })];
    expect(await a.record('purge', { tag: 'x' }, 100)).toMatchObject({ acknowledged: true });
    expect([a.log.limit(here), b.log.limit(there), b.log.limit(other)]).toEqual([VOID, VOID, FRESH]);
    expect([a.log.limit(a.entry()), b.log.limit(b.entry())]).toEqual([FRESH, FRESH]);
  });

  it('gives every instance the time of an expiry, despite different clocks [H07]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const entry = b.entry();
    const before = site.time.now();
    await a.record('expire', { url: '/a' }, 100);
    await site.time.run(500);
    const limit = b.log.limit(entry);
    expect(limit).toBeGreaterThanOrEqual(before - 2);
    expect(limit).toBeLessThanOrEqual(before + 10);
  });

  it.each([
    ['ahead', 1],
    ['back', -1],
  ])(
    'holds purges, and expires nothing later than now, on a server set an hour %s [G36]',
    async (_name, sign) => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      const [purged, expired, other] = [b.entry(), b.entry({ tags: ['e'] }), b.entry({ tags: ['o'] })];
      site.server.setClock(sign * 3_600_000);
      const at = site.time.now();
      expect(await a.record('purge', { tag: 'x' }, 50)).toMatchObject({ acknowledged: true });
      expect(await a.record('expire', { tag: 'e' }, 50)).toMatchObject({ acknowledged: true });
      expect([b.log.limit(purged), b.log.limit(other)]).toEqual([VOID, FRESH]);
      expect(b.log.limit(expired)).toBeLessThanOrEqual(site.time.now());
      expect(a.log.limit(a.entry({ tags: ['e'], stamp: 0 }))).toBeLessThanOrEqual(site.time.now());
      // After the next heartbeat the time is correct again.
      await site.time.run(1500);
      const later = b.entry({ tags: ['e'] });
      const expiredAt = site.time.now();
      await a.record('expire', { tag: 'e' }, 50);
      expect(b.log.limit(later)).toBeGreaterThanOrEqual(expiredAt - 3);
      expect([b.log.stats.inContact, b.log.canShare, b.log.stats.counts.epochs]).toEqual([true, true, 1]);
      expect(at).toBeLessThan(expiredAt);
    },
  );

  it('moves a stamp only to applied records, not past records still on the way [H08]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const entry = a.entry();
    // The reader receives nothing for now, so the record of b is missing here when the own record is acknowledged.
    a.follower.faults.latency = 0;
    a.follower.faults.isDeaf = true;
    await b.record('purge', { tag: 'x' }, 50);
    expect(await a.record('purge', { tag: 'unrelated' }, 50)).toMatchObject({ acknowledged: true });
    expect(a.log.limit(entry)).toBe(FRESH);
    a.follower.faults.isDeaf = false;
    a.follower.restart();
    await site.time.run(3000);
    expect(a.log.limit(entry)).toBe(VOID);
  });

  it('reads records that arrived while the reader was away [G21]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const [meant, other] = [b.entry(), b.entry({ tags: ['y'] })];
    b.follower.faults.isMute = true;
    b.follower.restart();
    await a.record('purge', { tag: 'x' }, 1000);
    expect(b.log.limit(meant)).toBe(FRESH);
    b.follower.faults.isMute = false;
    await site.time.run(2000);
    expect([b.log.limit(meant), b.log.limit(other)]).toEqual([VOID, FRESH]);
  });

  it('voids older entries after a gap of dropped records [G21, G23]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const entry = b.entry({ tags: ['nobody purges this'] });
    b.follower.faults.isMute = true;
    b.follower.restart();
    for (let i = 0; i < 150; i++) void a.log.record('purge', compileSelector({ tag: `t${i}` }));
    await site.time.run(100);
    b.follower.faults.isMute = false;
    await site.time.run(2000);
    expect(b.log.limit(entry)).toBe(VOID);
    expect(b.log.limit(b.entry())).toBe(FRESH);
    expect(b.log.stats.counts.holes).toBe(1);
  });

  it('limits entries to maxStaleness from the last contact, new ones from their creation [G22]', async () => {
    const site = new Site();
    const { log, entry } = await site.join({ maxStaleness: 5000 });
    const old = entry({ storedAt: 0 });
    site.server.pause();
    await site.time.run(1900);
    expect([log.limit(old), log.stats.inContact]).toEqual([FRESH, true]);
    await site.time.run(2100);
    expect(log.stats.inContact).toBe(false);
    const young = entry();
    const { heardAt } = log.stats;
    expect(log.limit(old)).toBe(heardAt + 5000);
    expect(log.limit(young)).toBe(young.storedAt! + 5000);
    // A second check, with the current stamp, gives the same result.
    expect(log.limit(old)).toBe(heardAt + 5000);
    await site.time.run(heardAt + 5000 - site.time.now());
    expect([log.limit(old), log.limit(young)]).toEqual([VOID, young.storedAt! + 5000]);
    site.server.resume();
    await site.time.run(6000);
    expect([log.limit(old), log.limit(young)]).toEqual([FRESH, FRESH]);
  });

  it.each([5000, 1000, 500])(
    'detects silence within a maxStaleness of %i ms, and accepts a quiet log [G22]',
    async (maxStaleness) => {
      const site = new Site();
      const { log, entry } = await site.join({ maxStaleness });
      const old = entry({ storedAt: 0 });
      await site.time.run(10_000);
      expect([log.limit(old), log.stats.inContact]).toEqual([FRESH, true]);
      site.server.pause();
      const pausedAt = site.time.now();
      await site.time.run(maxStaleness);
      expect(log.stats.heardAt).toBeLessThanOrEqual(pausedAt);
      expect(log.limit(old)).toBe(VOID);
    },
  );

  it('applies purges locally with Redis down at start, and writes them later [G01]', async () => {
    const site = new Site();
    site.isUp = false;
    const { log, entry, record } = await site.join();
    const before = entry();
    expect(log.limit(before)).toBe(before.storedAt! + 5000);
    expect(log.canShare).toBe(false);
    expect(await record('purge', { tag: 'x' })).toMatchObject({ acknowledged: false });
    expect(log.limit(before)).toBe(VOID);
    expect(log.limit(entry())).toBeGreaterThan(site.time.now());
    site.isUp = true;
    await site.time.run(6000);
    expect([log.stats.queued, log.canShare]).toEqual([0, true]);
    expect(site.server.data.entries.at(-1)!.text).toMatch(/ pt \d+ x$/);
  });

  it('delays only the first purge while Redis hangs, and writes all in order later [G03]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    const [here, there] = [a.entry({ tags: ['second'] }), b.entry({ tags: ['second'] })];
    site.server.pause();
    expect(await a.record('purge', { tag: 'first' }, 1100)).toMatchObject({ acknowledged: false });
    expect(await a.record('purge', { tag: 'second' }, 0)).toMatchObject({ acknowledged: false });
    expect(a.log.limit(here)).toBe(VOID);
    expect([a.log.canShare, a.log.stats.queued]).toEqual([false, 2]);
    site.server.resume();
    await site.time.run(7000);
    expect([a.log.canShare, a.log.stats.queued, b.log.limit(there)]).toEqual([true, 0, VOID]);
    // G04: the first attempt has arrived as well, late. Twice has the same effect as once.
    expect(a.log.limit(a.entry({ tags: ['first'] }))).toBe(FRESH);
  });

  it('replaces queued purges over the limit by one purge of everything [I-BOUND]', async () => {
    const site = new Site();
    const [a, b] = [await site.join({ maxQueued: 3 }), await site.join()];
    const there = b.entry({ tags: ['never named'] });
    a.writer.faults.isMute = true;
    a.writer.restart();
    for (let i = 0; i < 10; i++) await a.record('purge', { tag: `t${i}` }, 0);
    expect(a.log.stats.queued).toBeLessThanOrEqual(3);
    expect(a.log.stats.counts.overflows).toBeGreaterThan(0);
    a.writer.faults.isMute = false;
    await site.time.run(10_000);
    expect([b.log.limit(there), a.log.stats.queued, a.log.canShare]).toEqual([VOID, 0, true]);
  });

  it('queues a repeated purge once while Redis is away [I-BOUND]', async () => {
    const site = new Site();
    const [a, b] = [await site.join({ maxQueued: 3 }), await site.join()];
    const [there, other] = [b.entry(), b.entry({ tags: [], url: '/b' })];
    a.writer.faults.isMute = true;
    a.writer.restart();
    const { length } = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const here = a.entry();
        const done = a.log.record('purge', compileSelector({ url: '/a' }), 'client');
        await site.time.run(100);
        expect(await done).toMatchObject({ acknowledged: false });
        expect(a.log.limit(here)).toBe(VOID);
      }),
    );
    expect([length, a.log.stats.queued, a.log.stats.counts.overflows]).toEqual([20, 1, 0]);
    a.writer.faults.isMute = false;
    await site.time.run(10_000);
    expect([b.log.limit(there), b.log.limit(other)]).toEqual([VOID, FRESH]);
    expect([a.log.stats.queued, a.log.canShare]).toEqual([0, true]);
  });

  it('applies purges by clients on an instance that reads the log from its start [H08]', async () => {
    const site = new Site();
    const a = await site.join();
    const stamp = a.log.toShared(a.log.position)!;
    for (let i = 0; i < 20; i++) void a.log.record('purge', compileSelector({ url: `/${i}` }), 'client');
    await site.time.run(100);
    const b = await site.join({ maxNames: 3 });
    const entryOf = (url: string) => b.entry({ stamp: b.log.fromShared(stamp)!, tags: [], url });
    expect(b.log.limit(entryOf('/7'))).toBe(VOID);
    expect(b.log.limit(entryOf('/elsewhere'))).toBe(FRESH);
  });

  it.each<[string, (site: Site) => void]>([
    ['emptied', (site) => site.server.empty()],
    [
      'restarted from an older file',
      (site) => {
        site.server = new SimulatedServer(
          site.time,
          { maxRecords: 100, isNamed: true },
          snapshots.get(site)!,
        );
      },
    ],
    [
      'replaced by an empty one',
      (site) => {
        site.server = new SimulatedServer(site.time, { maxRecords: 100, isNamed: true });
      },
    ],
    [
      'replaced by one that may not be asked its name',
      (site) => {
        site.server = new SimulatedServer(site.time, { maxRecords: 100, isNamed: false }, site.server.data);
      },
    ],
  ])(
    'begins a new epoch for a Redis that was %s, and uses no earlier entries [G37]',
    async (_name, happen) => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      await a.record('purge', { tag: 'one' }, 100);
      snapshots.set(site, site.server.data);
      await a.record('purge', { tag: 'lost' }, 100);
      const entries = [a.entry(), b.entry()];
      const shared = a.log.toShared(a.log.position)!;
      expect(b.log.fromShared(shared)).toBeDefined();
      happen(site);
      for (const { follower, writer } of [a, b]) {
        follower.restart();
        writer.restart();
      }
      await site.time.run(4000);
      expect([a.log.limit(entries[0]!), b.log.limit(entries[1]!)]).toEqual([VOID, VOID]);
      expect(b.log.fromShared(shared)).toBeUndefined();
      expect(a.log.stats.epoch).toBe(b.log.stats.epoch);
      const later = b.entry();
      expect(await a.record('purge', { tag: 'x' }, 100)).toMatchObject({ acknowledged: true });
      expect(b.log.limit(later)).toBe(VOID);
    },
  );

  it.each([
    ['named', true],
    ['without a name', false],
  ])(
    'uses no lost acknowledgement of a server, %s, that took over unnoticed [G37]',
    async (_name, isNamed) => {
      const site = new Site(isNamed);
      const [a, b] = [await site.join(), await site.join()];
      const behind = site.server.data;
      // b knows a record that a has not read yet, and that the next server will not have.
      a.follower.faults.isDeaf = true;
      await b.record('purge', { tag: 'unrelated' }, 20);
      const shared = b.log.toShared(b.log.position)!;
      site.server.fence();
      site.server = new SimulatedServer(site.time, { maxRecords: 100, isNamed }, behind);
      a.writer.restart();
      while (!a.writer.stream) await site.time.run(1);
      expect(a.log.canShare).toBe(isNamed);
      // There it would get the position of the lost record.
      await a.record('purge', { tag: 'x' }, 1100);
      const stamp = a.log.fromShared(shared);
      expect(stamp === undefined ? VOID : a.log.limit(a.entry({ stamp }))).toBe(VOID);
    },
  );

  describe('at an address that moves between two servers', () => {
    /** Two instances on the first server, a function that moves them, and both servers. */
    const moving = async () => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      await a.record('purge', { tag: 'one' }, 100);
      const first = site.server;
      const move = async (to: SimulatedServer, ...instances: (typeof a)[]) => {
        site.server = to;
        for (const { follower, writer } of instances) {
          follower.restart();
          writer.restart();
        }
        await site.time.run(3000);
      };
      const kind = { maxRecords: 100, isNamed: true };
      return { site, a, b, first, second: new SimulatedServer(site.time, kind, first.data), move };
    };

    it('voids entries of the first server after a purge on the second [G29, G37]', async () => {
      const { site, a, b, first, second, move } = await moving();
      const shared = a.log.toShared(a.log.position)!;
      await move(second, a, b);
      expect(await a.record('purge', { tag: 'x' }, 100)).toMatchObject({ acknowledged: true });
      await move(first, a, b);
      const c = await site.join();
      for (const { log } of [a, b, c]) expect(log.fromShared(shared)).toBeUndefined();
      expect(new Set([a, b, c].map(({ log }) => log.stats.epoch)).size).toBe(1);
    });

    it('begins at most one epoch for each instance, and then stays in it [G37]', async () => {
      const { site, a, b, first, second, move } = await moving();
      await move(second, a, b);
      const [there, back] = [a.log.stats.counts.epochs, b.log.stats.counts.epochs];
      await move(first, a, b);
      expect(a.log.stats.counts.epochs).toBeLessThanOrEqual(there + 2);
      expect(b.log.stats.counts.epochs).toBeLessThanOrEqual(back + 2);
      const { epoch } = a.log.stats;
      await site.time.run(60_000);
      expect([a.log.stats.epoch, b.log.stats.epoch]).toEqual([epoch, epoch]);
    });

    it('adopts an epoch that another instance began after all records read here [G37]', async () => {
      const { a, b, second, move } = await moving();
      const entry = b.entry();
      await move(second, a);
      await move(second, b);
      expect(b.log.stats.epoch).toBe(a.log.stats.epoch);
      expect(second.data.entries.filter(({ text }) => / e \d/.test(text))).toHaveLength(2);
      expect(b.log.limit(entry)).toBe(VOID);
    });

    it('follows the server of the writer, so that purges arrive [G29]', async () => {
      const { a, b, second, site } = await moving();
      site.server = second;
      for (const { writer } of [a, b]) writer.restart();
      await site.time.run(3000);
      const entry = b.entry();
      expect(await a.record('purge', { tag: 'x' }, 100)).toMatchObject({ acknowledged: true });
      expect([b.log.limit(entry), a.log.canShare, b.log.canShare]).toEqual([VOID, true, true]);
    });

    it('begins no epoch on an empty server that the reader does not follow [G29]', async () => {
      const { a, site } = await moving();
      const empty = new SimulatedServer(site.time, { maxRecords: 100, isNamed: true });
      site.server = empty;
      a.writer.restart();
      while (!a.writer.stream) await site.time.run(1);
      const done = a.log.record('purge', compileSelector({ tag: 'x' }));
      await site.time.run(10);
      expect(empty.data.exists).toBe(false);
      await site.time.run(5000);
      await done;
      expect([a.log.stats.queued, a.log.canShare]).toEqual([0, true]);
    });
  });

  describe('on a server that loads older data while it runs', () => {
    it('reads no record that follows records other than those applied here [G37]', async () => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      await a.record('purge', { tag: 'one' }, 100);
      const { data } = site.server;
      // b does not receive the record that is lost later.
      b.follower.faults.isDeaf = true;
      await a.record('purge', { tag: 'lost' }, 50);
      const [here, there] = [a.entry(), b.entry({ tags: ['lost'] })];
      site.server.data = data;
      // Two records; the first takes the position of the lost record.
      void b.log.record('purge', compileSelector({ tag: 'x' }));
      await b.record('purge', { tag: 'unrelated' }, 20);
      b.follower.faults.isDeaf = false;
      b.follower.restart();
      await site.time.run(3000);
      expect([a.log.limit(here), b.log.limit(there)]).toEqual([VOID, VOID]);
      expect(a.log.stats.epoch).toBe(b.log.stats.epoch);
    });

    it('repeats its own purge that was acknowledged and lost before it was read [G37]', async () => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      await a.record('purge', { tag: 'one' }, 100);
      const { data } = site.server;
      for (const { follower } of [a, b]) follower.faults.isDeaf = true;
      const there = b.entry();
      expect(await a.record('purge', { tag: 'x' }, 20)).toMatchObject({ acknowledged: true });
      site.server.data = data;
      for (const { follower } of [a, b]) {
        follower.faults.isDeaf = false;
        follower.restart();
      }
      await site.time.run(3000);
      expect(b.log.limit(there)).toBe(VOID);
      expect(a.log.stats.epoch).toBe(b.log.stats.epoch);
    });

    it('holds its purge after older data was loaded while it reads nothing [G37, H08]', async () => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      const { data } = site.server;
      a.follower.faults.isDeaf = true;
      for (const tag of ['one', 'two'])
        expect(await a.record('purge', { tag }, 20)).toMatchObject({ acknowledged: true });
      const [here, there] = [a.entry(), b.entry()];
      // The next record takes the position of one that a has written before.
      site.server.data = data;
      await a.record('purge', { tag: 'x' }, 1500);
      expect(a.log.limit(here)).toBe(VOID);
      a.follower.faults.isDeaf = false;
      a.follower.restart();
      await site.time.run(6000);
      expect(b.log.limit(there)).toBe(VOID);
      expect(a.log.stats).toMatchObject({ queued: 0, epoch: b.log.stats.epoch });
    });

    it('detects another record at the position of its own unread one [G37]', async () => {
      const site = new Site();
      const [a, b] = [await site.join(), await site.join()];
      await a.record('purge', { tag: 'one' }, 100);
      const { data } = site.server;
      for (const { follower } of [a, b]) follower.faults.isDeaf = true;
      const there = b.entry();
      expect(await a.record('purge', { tag: 'x' }, 20)).toMatchObject({ acknowledged: true });
      site.server.data = data;
      expect(await b.record('purge', { tag: 'unrelated' }, 20)).toMatchObject({ acknowledged: true });
      for (const { follower } of [a, b]) {
        follower.faults.isDeaf = false;
        follower.restart();
      }
      await site.time.run(3000);
      expect(b.log.limit(there)).toBe(VOID);
    });
  });

  it('reads nothing from Redis until its own last record belongs to a known epoch [H08]', async () => {
    const site = new Site();
    const [a, b] = [await site.join(), await site.join()];
    // Delayed before it reaches a.
    a.follower.faults.latency = 1000;
    await b.record('purge', { tag: 'unrelated' }, 20);
    const shared = b.log.toShared(b.log.position)!;
    site.server.empty();
    expect(await a.record('purge', { tag: 'x' }, 20)).toMatchObject({ acknowledged: true });
    const before = a.log.stats.counts.records;
    for (let i = 0; i < 200; i++) {
      const stamp = a.log.fromShared(shared);
      expect(stamp === undefined ? VOID : a.log.limit(a.entry({ stamp }))).toBe(VOID);
      await site.time.run(10);
    }
    a.follower.faults.latency = 2;
    await site.time.run(3000);
    // The epoch of its own record does not continue the previous one, so another epoch begins.
    expect(a.log.stats.counts).toMatchObject({ records: before + 1, epochs: 2 });
    expect(a.log.canShare).toBe(true);
  });

  it('reads nothing from Redis while own records are unwritten or others unread [H08]', async () => {
    const site = new Site();
    const { log, follower, writer, record } = await site.join();
    const shared = log.toShared(log.position)!;
    expect(log.fromShared(shared)).toBeDefined();
    writer.faults.isMute = true;
    await record('purge', { tag: 'x' }, 1100);
    expect([log.canShare, log.fromShared(shared)]).toEqual([false, undefined]);
    writer.faults.isMute = false;
    await site.time.run(5000);
    expect(log.canShare).toBe(true);
    follower.restart();
    expect([log.canShare, log.fromShared(shared)]).toEqual([false, undefined]);
    await site.time.run(1000);
    expect(log.canShare).toBe(true);
  });

  it('detects replaced records at the end of the stream on the same server [G37]', async () => {
    const site = new Site();
    const { log, entry, record } = await site.join();
    await record('purge', { tag: 'one' }, 100);
    const before = entry();
    const { data } = site.server;
    const last = data.entries.at(-1)!;
    const other = { ...last, text: last.text.replace(/one$/, 'two') };
    site.server.data = { ...data, entries: [...data.entries.slice(0, -1), other] };
    await site.time.run(3000);
    expect(log.limit(before)).toBe(VOID);
  });

  it('voids everything for a record of a later version, and counts a foreign one [G13, G24]', async () => {
    const site = new Site();
    const { log, entry } = await site.join();
    const before = entry();
    const put = (text: string) => {
      const { data } = site.server;
      const position = data.last + 1;
      site.server.data = {
        ...data,
        last: position,
        entries: [...data.entries, { id: `${position}-0`, position, text }],
      };
    };
    put(`2 ${log.stats.epoch} anything`);
    await site.time.run(3000);
    expect(log.limit(before)).toBe(VOID);
    expect(log.stats.counts.unknown).toBe(1);
    put('what is this?');
    await site.time.run(3000);
    expect(log.stats.counts.garbage).toBe(1);
    expect(log.limit(entry())).toBe(FRESH);
    expect(log.canShare).toBe(true);
  });

  it('applies purges locally after close, and reports that no other instance will', async () => {
    const site = new Site();
    const { log, entry } = await site.join();
    const before = entry();
    log.close();
    log.close();
    expect(await log.record('purge', compileSelector({ tag: 'x' }))).toMatchObject({ acknowledged: false });
    expect(log.limit(before)).toBe(VOID);
  });
});

const snapshots = new WeakMap<Site, SimulatedServer['data']>();
