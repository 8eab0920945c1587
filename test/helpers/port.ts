import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that systems give to connections by themselves (from 32768 on with Linux, 49152 elsewhere). */
const PORTS = [10_000, 32_000] as const;

/** A port on which nobody listens, and which no connection takes until whoever it is for gets to it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(...PORTS);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  const listening = once(probe.listen(port, '127.0.0.1'), 'listening').then(
    () => true,
    () => false,
  );
  if (!(await listening)) return false;
  probe.close();
  await once(probe, 'close');
  return true;
}
