import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { responseCache } from 'hotpath/cache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { RedisServer, redisMajors } from '../../helpers/redis.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/redis.md'), 'utf8');
// On a machine that others use as well, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());

/** Every name in a tree of values. */
function namesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...namesIn(inner)]);
}

describe('docs/redis.md', () => {
  it.each(
    redisMajors.flatMap(([name, module]) => [
      [`the access rule that it shows is enough, with ${name}`, module, ''] as const,
      [
        `without +info nothing breaks, and a reconnect voids what is stored, with ${name}`,
        module,
        '+info',
      ] as const,
    ]),
  )('%s', async (_, module, without) => {
    const [, ...rule] = /^ACL (SETUSER .+)$/m.exec(page)![1]!.replace(without, '').split(/ +/);
    await server.command('ACL', 'SETUSER', ...rule);
    const client = new module.Redis({ port: server.port, username: 'hotpath', password: 'password' });
    const faults: unknown[] = [];
    const cache = responseCache({
      onError: (error) => faults.push(error),
      redis: {
        client,
        ...patient,
        wait: { replicas: 1, timeout: 0.01 },
      },
      routes: { '/x': { ttl: 60, tags: ['x'], collapse: 'cluster' } },
    });
    const app = express5();
    app.use(cache);
    app.get('/x', (_req, res) => void res.vary('Accept-Language').send('x'));
    const { url, close } = await listen(app);
    const redis = () => cache.stats().redis!;
    try {
      await waitFor(() => redis().log.shares);
      for (let i = 1; i <= 2; i++) {
        await (await fetch(`${url}/x`)).text();
        await waitFor(() => redis().operations.release?.answered === i);
        expect(await cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      }
      if (without) {
        const stored = async () => (await fetch(`${url}/x`)).headers.get('cache-status');
        await stored();
        expect(await stored()).toContain('hit');
        const { voided } = redis().log;
        client.disconnect(true);
        await waitFor(() => redis().log.shares && redis().log.voided > voided);
        expect(await stored()).not.toContain('hit');
        await waitFor(() => redis().operations.release?.answered === 4);
        expect(await cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      }
      expect(faults).toEqual([]);
      const log = (await server.command('ACL', 'LOG')) as string[][];
      expect([...new Set(log.map((entry) => entry[entry.indexOf('object') + 1]))]).toEqual(
        without ? ['info'] : [],
      );
      await server.command('ACL', 'LOG', 'RESET');
    } finally {
      await cache.close();
      await close();
      client.disconnect();
      await server.command('ACL', 'DELUSER', 'hotpath');
    }
  });

  it('shows what stats() has of Redis, all of it and no more', async () => {
    const cache = responseCache({ redis: { url: server.url } });
    try {
      const text = /```js\n([\s\S]*?)```/.exec(page)![1]!;
      const shown: unknown = new Function(`return (${text.replaceAll('…', '')})`)();
      const real = structuredClone(cache.stats().redis!);
      const variable = { unusable: {}, refused: {}, operations: {} };
      expect(namesIn({ ...(shown as object), ...variable }).sort()).toEqual(
        namesIn({ ...real, ...variable }).sort(),
      );
    } finally {
      await cache.close();
    }
  });
});
