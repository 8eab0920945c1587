import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { StoredResponse } from '../../../../src/store/stored-response.js';
import { closeAfterEach } from '../../../helpers/close-after-each.js';
import { redisMajors, startCluster, startReplicated, until } from '../../../helpers/redis.js';
import { itemOf } from '../../../store/contract.js';
import { type OpenStore, openStore } from '../../../store/redis/open-store.js';

const minute = 60_000;
const closeLater = closeAfterEach();

const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`);
const fill = ({ store }: OpenStore) =>
  Promise.all(
    keys.map((key) => store.set(key, itemOf(key, { body: Buffer.from(`body of ${key}`) }), minute)),
  );

/** Reads and writes are checked separately: when one recovers, the other may still wait for part of its backoff. */
const readsAll = ({ store }: OpenStore) =>
  until(
    async () => (await Promise.all(keys.map((key) => store.get(key)))).every(Boolean),
    'everything is read again',
  );

/** Reads and writes continuously, and returns descriptions of faults. */
function load({ store }: OpenStore): () => Promise<string[]> {
  const wrong: string[] = [];
  let isOver = false;
  const workers = Array.from({ length: 4 }, async (_, worker) => {
    for (let at = worker; !isOver; at++) {
      const key = keys[at % keys.length]!;
      try {
        const item = (await store.get(key)) as StoredResponse | undefined;
        if (item && item.body.toString() !== `body of ${key}`) wrong.push(`${key} was ${item.body}`);
        await store.set(key, itemOf(key, { body: Buffer.from(`body of ${key}`) }), minute);
      } catch (error) {
        wrong.push(String(error));
      }
      await delay(1);
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(workers);
    return wrong;
  };
}

describe.each(redisMajors)('failover of the master, with %s,', (_, module) => {
  it('uses all slots of a cluster of three again after a master dies under load [G29]', async () => {
    const servers = await startCluster({ replicas: true });
    for (const server of servers) closeLater(server);
    const client = closeLater(new module.Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port }))));
    const all = closeLater(
      await openStore(module, { client }, { bounds: { firstBackoff: 50, maxBackoff: 500 } }),
    );
    expect((await fill(all)).every(Boolean)).toBe(true);
    const end = load(all);
    await servers[1]!.kill();
    await until(
      async () => (await servers[4]!.info('replication')).get('role') === 'master',
      'the replica is the master',
    );
    await until(async () => (await fill(all)).every(Boolean), 'every slot is written again');
    await readsAll(all);
    expect(await end()).toEqual([]);
    expect(all.store.stats()).toMatchObject({ reads: 'closed', writes: 'closed' });
  }, 240_000);

  it('follows the new master that a Sentinel chooses under load, without throwing [G29]', async () => {
    const { master, replica, sentinel } = await startReplicated();
    for (const server of [master, replica, sentinel]) closeLater(server);
    const options = { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'main' };
    const all = closeLater(
      await openStore(module, { options }, { bounds: { firstBackoff: 50, maxBackoff: 500 } }),
    );
    expect((await fill(all)).every(Boolean)).toBe(true);
    const end = load(all);
    await master.kill();
    await until(async () => (await fill(all)).every(Boolean), 'it is written again');
    expect(await replica.command('ROLE')).toContain('master');
    await readsAll(all);
    expect(await end()).toEqual([]);
  }, 240_000);
});
