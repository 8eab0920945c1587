import { setTimeout as delay } from 'node:timers/promises';
import type { Hotpath } from 'hotpath';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { type Follower, type FollowOptions, follow } from '../../helpers/followed-tables.js';
import { waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { RedisServer } from '../../helpers/redis.js';

const KEYS = 100;
const WRITES = 1000;

let server: TestPostgres;
let redis: RedisServer;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  [server, redis] = await Promise.all([startPostgres(), RedisServer.start()]);
  url = await server.createDatabase('followed');
  admin = new pg.Client(url);
  await admin.connect();
  await admin.query(`CREATE TABLE stock (id int PRIMARY KEY, version int NOT NULL);
    INSERT INTO stock SELECT n, 0 FROM generate_series(0, ${KEYS - 1}) n`);
});
afterAll(async () => {
  await admin?.end();
  await Promise.all([server?.stop(), redis?.stop()]);
});

const later = closeAfterEach();
const stock = {
  stock: { columns: ['id'], tags: ({ id }: Readonly<Record<string, unknown>>) => `stock:${id}` },
};

async function startProxy(port: number): Promise<FaultProxy> {
  return later(await FaultProxy.start(port));
}

const portOf = (address: string) => Number(new URL(address).port);

/** An instance whose reader of changes connects through a proxy. */
async function followThrough(database: FaultProxy, cache: object, options: FollowOptions = {}) {
  const through = new URL(url);
  through.port = String(database.port);
  const config = { cache: { maxStaleness: '1m' as const, onError: () => {}, ...cache } };
  return later(await follow(url, stock, { ...options, config, readerUrl: String(through) }));
}

function versionsOf({ cache }: Hotpath, pool: pg.Pool) {
  return cache.cached(
    async (id: number): Promise<number> => {
      const { rows } = await pool.query('SELECT version FROM stock WHERE id = $1', [id]);
      return rows[0].version;
    },
    { name: 'version', ttl: '1h', tags: (id) => [`stock:${id}`] },
  );
}

describe('two instances with caches in memory, and two that share one in Redis', () => {
  it(`serve nothing stale after ${WRITES} random writes with connections that are cut`, async () => {
    const database = await startProxy(portOf(url));
    const link = await startProxy(redis.port);
    const caches = [{}, {}, ...Array(2).fill({ redis: { url: link.url, prefix: 'writes:' } })];
    const instances = await Promise.all(caches.map((cache) => followThrough(database, cache)));
    const readers = instances.map(({ perf, pool }) => versionsOf(perf, pool));
    const random = (below: number) => Math.floor(Math.random() * below);
    let isWriting = true;
    const read = async (version: (typeof readers)[number]) => {
      while (isWriting) {
        await version(random(KEYS));
        // Leaves the processors to the servers.
        await delay(2);
      }
    };
    const reading = readers.map(read);
    const write = ({ pool }: Follower) =>
      pool.query('UPDATE stock SET version = version + 1 WHERE id = $1', [random(KEYS)]);
    for (let at = 0; at < WRITES; at += instances.length) {
      await Promise.all(instances.map(write));
      if (at % 200 === 48) await database.cut();
      if (at % 200 === 120) await database.mend();
      if (at % 100 === 32) database.reset();
      if (at % 250 === 76) await link.cut();
      if (at % 250 === 112) await link.mend();
    }
    isWriting = false;
    await Promise.all(reading);
    await link.mend();
    await database.mend();
    for (const { db } of instances) {
      await waitFor(() => db.changes()?.state === 'following');
      await waitFor(async () => (await db.flush()).acknowledged);
    }
    const { rows } = await admin.query<{ id: number; version: number }>('SELECT id, version FROM stock');
    for (const version of readers) {
      const stale: number[] = [];
      for (const row of rows) if ((await version(row.id)) !== row.version) stale.push(row.id);
      expect(stale).toEqual([]);
    }
  });
});

describe('while the database cannot be polled', () => {
  it('uses no entry for longer than `maxStaleness`, also one that was filled meanwhile', async () => {
    const database = await startProxy(portOf(url));
    const { db, fill, purged } = await followThrough(database, {}, { maxStaleness: '100ms' });
    await database.cut();
    await waitFor(() => db.changes()?.state === 'lost');
    await fill('something');
    await waitFor(async () => (await purged()).length > 0);
    await waitFor(async () => (await purged()).length > 0);
    await database.mend();
    await waitFor(() => db.changes()?.state === 'following');
    expect(db.changes()).toMatchObject({ error: null });
    expect(db.changes()!.fullPurges).toBeGreaterThan(2);
  });

  it('notices a server that hangs, and reads on when it replies again', async () => {
    const database = await startProxy(portOf(url));
    const { db, fill, purged } = await followThrough(database, {}, { maxStaleness: '200ms' });
    database.set({ blackHole: 'both' });
    await fill('something');
    await waitFor(async () => (await purged()).length > 0);
    // The purge by the deadline gives read-your-writes on this instance.
    await admin.query('UPDATE stock SET version = -1 WHERE id = 1');
    expect(await db.flush()).toEqual({ acknowledged: false });
    expect(await purged()).toEqual(['something']);
    database.set({});
    await waitFor(() => db.changes()?.state === 'following');
  });

  it('starts without a database, and follows it later', async () => {
    const database = await startProxy(portOf(url));
    await database.cut();
    const starting = followThrough(database, {});
    await waitFor(() => database.connections === 0);
    await database.mend();
    const { db, fill, purged } = await starting;
    await waitFor(() => db.changes()?.state === 'following');
    await fill('stock:1');
    await admin.query('UPDATE stock SET version = 0 WHERE id = 1');
    await db.flush();
    expect(await purged()).toEqual(['stock:1']);
  });
});

describe('a declared replica', () => {
  it.each([
    ['when it has replayed the change', '1m'],
    ['after `replicaTimeout`', '100ms'],
  ] as const)('gets a second purge %s', async (_when, replicaTimeout) => {
    const [database, replica] = [await startProxy(portOf(url)), await startProxy(portOf(url))];
    const through = new URL(url);
    through.port = String(replica.port);
    await replica.cut();
    // A primary in place of the replica has replayed all, as soon as it can be reached.
    const replicas = [{ connectionString: String(through) }];
    const { db, fill, purged } = await followThrough(database, {}, { replicas, replicaTimeout });
    // Until its reader is registered.
    const { polls } = db.changes()!;
    await waitFor(() => db.changes()!.polls > polls + 1);
    await fill('stock:6', 'other');
    await admin.query('UPDATE stock SET version = version + 1 WHERE id = 6');
    await db.flush();
    expect(await purged()).toEqual(['stock:6']);
    if (replicaTimeout === '1m') await replica.mend();
    await waitFor(async () => (await purged()).includes('stock:6'));
    expect(await purged()).toEqual([]);
    expect(db.changes()).toMatchObject({ records: 2, purges: 2, state: 'following' });
  });
});

describe('instances that share a cache in Redis', () => {
  const shared = (prefix: string) => ({ redis: { url: redis.url, prefix } });

  it('need one that reaches the database', async () => {
    const [good, bad] = [await startProxy(portOf(url)), await startProxy(portOf(url))];
    const options = { maxStaleness: '1500ms' as const };
    const a = await followThrough(good, shared('one:'), options);
    const b = await followThrough(bad, shared('one:'), options);
    await bad.cut();
    await waitFor(() => b.db.changes()?.state === 'lost');
    const { fullPurges } = b.db.changes()!;
    await b.fill('stock:1', 'other');
    for (let write = 0; write < 20; write++) {
      const { polls } = a.db.changes()!;
      await admin.query('UPDATE stock SET version = version + 1 WHERE id = 1');
      await waitFor(async () => (await b.purged()).includes('stock:1'));
      await waitFor(() => a.db.changes()!.polls > polls);
    }
    expect(await b.purged()).not.toContain('other');
    expect(b.db.changes()).toMatchObject({ fullPurges, isShared: true });
    // Then nobody reads, and both purge everything.
    await good.cut();
    await waitFor(async () => (await b.purged()).includes('other'));
  });

  it('see changes with `flush`, whichever of them has read', async () => {
    const direct = await startProxy(portOf(url));
    const instances = [];
    for (let at = 0; at < 3; at++) instances.push(await followThrough(direct, shared('flush:')));
    for (const each of instances) await each.fill('stock:2');
    for (let write = 0; write < 30; write++) {
      await admin.query('UPDATE stock SET version = version + 1 WHERE id = 2');
      const each = instances[write % 3]!;
      expect(await each.db.flush()).toEqual({ acknowledged: true });
      expect(await each.purged()).toEqual(['stock:2']);
    }
    const records = instances.map(({ db }) => db.changes()!.records);
    expect(records.reduce((sum, count) => sum + count, 0)).toBe(30);
  });

  it('are apart from those of another Redis or prefix', async () => {
    const direct = await startProxy(portOf(url));
    const a = await followThrough(direct, shared('a:'));
    const b = await followThrough(direct, shared('b:'));
    const alone = await followThrough(direct, {});
    for (const each of [a, b, alone]) await each.fill('stock:3');
    await admin.query('UPDATE stock SET version = version + 1 WHERE id = 3');
    for (const each of [a, b, alone]) {
      await each.db.flush();
      expect(await each.purged()).toEqual(['stock:3']);
    }
  });

  it('each purge their own tags while two versions of an app have other mappings', async () => {
    await admin.query('CREATE TABLE offers (id int)');
    const config = { cache: shared('versions:') };
    const older = later(await follow(url, stock, { config }));
    const offers = {
      offers: { columns: ['id'], tags: ({ id }: Readonly<Record<string, unknown>>) => `offer:${id}` },
    };
    const newer = later(await follow(url, { ...stock, ...offers }, { config }));
    for (let write = 0; write < 10; write++) {
      await newer.fill('offer:1', 'stock:7');
      await admin.query('INSERT INTO offers VALUES (1); UPDATE stock SET version = version + 1 WHERE id = 7');
      await older.db.flush();
      await newer.db.flush();
      expect(await newer.purged()).toEqual(['offer:1', 'stock:7']);
    }
  });

  it('keep their cache over a restart, and lose what has changed meanwhile', async () => {
    const direct = await startProxy(portOf(url));
    const first = await followThrough(direct, shared('restart:'));
    await first.fill('stock:4', 'stock:5');
    await first.stop();
    await admin.query('UPDATE stock SET version = version + 1 WHERE id = 4');
    const second = await followThrough(direct, shared('restart:'));
    await second.db.flush();
    expect(await second.perf.cache.has('entry of stock:4')).toBe(false);
    await waitFor(() => second.perf.cache.has('entry of stock:5'));
    expect(second.db.changes()).toMatchObject({ fullPurges: 0 });
  });
});
