// The Redis for the loads of the second tier: on the generator's core, without persistence.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { spawnOn } from './children.mjs';
import { find, GENERATOR_CORE } from './cores.mjs';
import { freePort } from './proxies.mjs';

export interface RunningRedis {
  readonly url: string;
  stop(): Promise<void>;
}

/** `undefined` without redis-server. */
export async function startRedis(): Promise<RunningRedis | undefined> {
  if (!find('redis-server')) return undefined;
  const port = await freePort();
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const child = spawnOn(GENERATOR_CORE, ['redis-server', ...settings], { stdio: 'ignore' });
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: 200 });
  client.on('error', () => undefined);
  await client.ping();
  client.disconnect();
  return {
    url,
    stop: async () => {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await Promise.race([gone, delay(5_000)]);
    },
  };
}
