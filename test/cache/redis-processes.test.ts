import { Agent } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askFor } from '../faults/load.js';
import { crowdOf, waitFor } from '../helpers/http.js';
import { RedisServer } from '../helpers/redis.js';
import { type Child, startChild } from '../process/child.js';
import type { Told } from '../process/children/instance.js';

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

/** An instance in a process of its own, with Redis at hand. */
async function instance(NAME: string, env: Record<string, string>): Promise<Child> {
  const child = await startChild('instance', { NAME, REDIS_URL: server.url, READ_TIMEOUT: '5', ...env });
  children.push(child);
  await waitFor(async () => (await tell(child)).redis?.log.shares === true);
  return child;
}

describe.each(['5', '4'])('instances in processes of their own, on Express %s', (EXPRESS) => {
  const crowd = crowdOf(`Express ${EXPRESS}`);
  it.each([
    ['cluster', 1],
    ['instance', 2],
  ] as const)(
    `collapse: '%s': of ${crowd} requests on each for one cold key at most %i reach the handler`,
    async (collapse, most) => {
      const both = await Promise.all([instance('a', { EXPRESS }), instance('b', { EXPRESS })]);
      const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
      const what = { path: `/held/${collapse}`, language: 'de' };
      const asked = both.flatMap(({ port }) =>
        Array.from({ length: crowd }, () => askFor(port, what, { agent, giveUp: 50_000 })),
      );
      await waitFor(async () => {
        const told = await Promise.all(both.map((child) => tell(child)));
        return told.every(({ requests }) => requests === crowd) && told.some(({ runs }) => runs > 0);
      });
      for (const child of both) await tell(child, 'open');
      const answers = await Promise.all(asked);
      agent.destroy();
      expect(answers.filter(({ fault }) => fault)).toEqual([]);
      const runs = (await Promise.all(both.map((child) => tell(child)))).map((told) => told.runs);
      expect(runs[0]! + runs[1]!).toBeLessThanOrEqual(most);
      // Everybody got what these runs made.
      expect(new Set(answers.map(({ by }) => by)).size).toBe(runs[0]! + runs[1]!);
    },
  );
});

it.each([
  ['closed', 'yes', false],
  ['not closed', 'no', false],
  ['closed while Redis hangs', 'yes', true],
  ['not closed while Redis hangs', 'no', true],
])('K01 I-EXIT a process ends by itself, its cache %s', async (_, CLOSE, hangs) => {
  // A Redis that answers may take its time where the machine is busy; one that hangs is not waited for.
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

it('H05 a process that is killed while others wait for its fill costs them its lease at most, and no error', async () => {
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
