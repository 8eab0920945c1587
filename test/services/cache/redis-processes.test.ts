import { Agent } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askFor } from '../../faults/load.js';
import { crowdOf, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';
import { type Child, startChild } from '../../process/child.js';
import type { Told } from '../../process/children/instance.js';

let server: RedisServer;
const children: Child[] = [];
beforeEach(async () => {
  server = await RedisServer.start({ password: 'not-for-the-logs' });
});
afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill('SIGKILL');
  await server.stop();
});

const tell = async (child: Child, message = 'tell') => (await child.tell(message)) as Told;

/** An instance in its own process, connected to Redis. */
async function instance(NAME: string, env: Record<string, string>): Promise<Child> {
  const child = await startChild('instance', { NAME, REDIS_URL: server.url, READ_TIMEOUT: '5', ...env });
  children.push(child);
  await waitFor(async () => (await tell(child)).redis?.log.shares === true);
  return child;
}

// The two ways of collapsing share the code that an Express calls, so each runs on one major.
describe.each([
  ['5', 'cluster', 1],
  ['4', 'instance', 2],
] as const)('instances in separate processes (Express %s)', (EXPRESS, collapse, most) => {
  const crowd = crowdOf(`Express ${EXPRESS}`);
  it(`collapse: '${collapse}' runs the handler at most ${most} times for ${crowd} requests to each instance`, async () => {
    const both = await Promise.all([instance('a', { EXPRESS }), instance('b', { EXPRESS })]);
    const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
    const what = { path: `/held/${collapse}`, language: 'de' };
    const pending = both.flatMap(({ port }) =>
      Array.from({ length: crowd }, () => askFor(port, what, { agent, giveUp: 50_000 })),
    );
    await waitFor(async () => {
      const states = await Promise.all(both.map((child) => tell(child)));
      return states.every(({ requests }) => requests === crowd) && states.some(({ runs }) => runs > 0);
    });
    for (const child of both) await tell(child, 'open');
    const answers = await Promise.all(pending);
    agent.destroy();
    expect(answers.filter(({ fault }) => fault)).toEqual([]);
    const runs = (await Promise.all(both.map((child) => tell(child)))).map((state) => state.runs);
    expect(runs[0]! + runs[1]!).toBeLessThanOrEqual(most);
    // All requests got the responses of these runs.
    expect(new Set(answers.map(({ by }) => by)).size).toBe(runs[0]! + runs[1]!);
  });
});

it.each([
  ['closed', 'yes', false],
  ['not closed', 'no', false],
  ['closed while Redis hangs', 'yes', true],
  ['not closed while Redis hangs', 'no', true],
])('lets a process exit with its cache %s [K01, I-EXIT]', async (_, CLOSE, hangs) => {
  // A running Redis may be slow on a busy machine; the cache does not wait for one that hangs.
  const child = await instance('a', { CLOSE, ...(hangs && { READ_TIMEOUT: '0.05' }) });
  for (let n = 0; n < 20; n++)
    expect((await askFor(child.port, { path: `/item/${n % 10}`, language: 'de' })).by).toBe('a');
  if (hangs) {
    server.pause();
    await askFor(child.port, { path: '/item/other', language: 'de' });
  }
  child.process.send('stop');
  expect(await child.exited).toEqual([0, null]);
  if (!hangs) expect(child.output()).toBe('');
  expect(child.output()).not.toContain('not-for-the-logs'); // K14
});

it('waits at most for the lease when a process is killed during its fill [H05]', async () => {
  const [a, b] = await Promise.all([instance('a', {}), instance('b', {})]);
  const what = { path: '/held/cluster', language: 'de' };
  const first = askFor(a.port, what, { giveUp: 50_000 });
  await waitFor(async () => (await tell(a)).runs === 1);
  const others = Array.from({ length: 100 }, () => askFor(b.port, what, { giveUp: 50_000 }));
  await waitFor(async () => (await tell(b)).requests === 100);
  await tell(b, 'open');
  expect((await tell(b)).runs).toBe(0);
  a.process.kill('SIGKILL');
  expect((await first).fault).toBe('error');
  expect(new Set((await Promise.all(others)).map(({ by, fault }) => by ?? fault))).toEqual(new Set(['b']));
  expect((await tell(b)).runs).toBe(1);
});
