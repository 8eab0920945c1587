import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ephemeral ports of the system (from 32768 on Linux, 49152 elsewhere). */
const PORTS = [10_000, 32_000] as const;

/** Concurrent test processes choose from separate ranges, because a chosen port is bound later. */
const PARTS = 16;
const given = new Set<number>();

/** A port with no listener, which no outgoing connection takes before it is bound. */
export async function freePort(): Promise<number> {
  const [first, end] = PORTS;
  const size = Math.floor((end - first) / PARTS);
  const part = Number(process.env.VITEST_POOL_ID ?? 0) % PARTS;
  for (;;) {
    const port = first + part * size + randomInt(size);
    if (given.has(port)) continue;
    given.add(port);
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
