import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import { RedisServer, redisMajors, startCluster } from '../../helpers/redis.js';
import { storeContract } from '../../store/contract.js';
import { openStore } from '../../store/redis/open-store.js';
import { bothTiers } from '../../store/tiers.js';

describe('the memory tier', () => {
  storeContract(async () => new MemoryStore({ maxBytes: 64 * 1024 ** 2, maxEntries: 10_000 }));
});

describe.each(redisMajors)('the Redis tier, %s', (_, module) => {
  const opened: { close(): void }[] = [];
  let server: RedisServer;
  let cluster: RedisServer[];
  let count = 0;

  beforeAll(async () => {
    [server, cluster] = await Promise.all([RedisServer.start(), startCluster()]);
  });

  afterEach(() => {
    for (const thing of opened.splice(0)) thing.close();
  });

  afterAll(async () => {
    for (const one of [server, ...cluster]) await one.stop();
  });

  const open = async (source: Parameters<typeof openStore>[1]) => {
    // Empty, because the prefix is new.
    const all = await openStore(module, source, { store: { prefix: `hotpath${count++}:` } });
    opened.push(all);
    return all.store;
  };

  describe('from a URL', () => storeContract(() => open({ url: server.url })));

  describe.each([
    ['that has all of it', false],
    ['that has evicted it', true],
  ])('behind a memory tier %s', (_which, forgets) => {
    storeContract(async () => bothTiers(await open({ url: server.url }), forgets));
  });

  describe("with the user's client and its key prefix", () => {
    storeContract(() => {
      const client = new module.Redis({ port: server.port, keyPrefix: 'app:' });
      opened.push({ close: () => client.disconnect() });
      return open({ client });
    });
  });

  describe("with the user's cluster [G28]", () => {
    storeContract(() => {
      const client = new module.Cluster([{ port: cluster[0]!.port, host: '127.0.0.1' }]);
      opened.push({ close: () => client.disconnect() });
      return open({ client });
    });
  });
});
