import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { ask } from '../helpers/client.js';
import { waitFor } from '../helpers/http.js';
import { type Child, startChild } from './child.js';

const children: Child[] = [];
/** How often a warming task has run. */
const metricOf = async ({ port }: Child, task: string) => {
  const { body } = await ask(port, { path: '/metrics', agent: false });
  return new RegExp(`^hotpath_warming_executions_total\\{task="${task}"\\} (\\d+)`, 'm').exec(
    String(body),
  )?.[1];
};
const start = async (env: Record<string, string>) => {
  const child = await startChild('server', env);
  children.push(child);
  return child;
};
afterEach(() => {
  for (const child of children.splice(0)) child.process.kill('SIGKILL');
});

/** Each test meets both majors of Express, and both ways to end; all tests together meet each pair of them. */
const ENDS = [
  ['5', 'yes'],
  ['4', 'no'],
] as const;
const OTHER_ENDS = [
  ['5', 'no'],
  ['4', 'yes'],
] as const;

describe('process exit', () => {
  test.each(ENDS)(
    'exits by itself after server.close(), on Express %s; perf.close() called: %s [K01, I-EXIT]',
    async (EXPRESS, CLOSE) => {
      const child = await start({ EXPRESS, CLOSE });
      for (let i = 0; i < 20; i++) {
        await ask(child.port, {
          path: `/cached/fast?${i % 10}`,
          headers: { 'Accept-Encoding': 'gzip' },
          agent: false,
        });
      }
      await ask(child.port, { path: '/write', method: 'POST', body: 'x', agent: false });
      await ask(child.port, { path: '/metrics', agent: false });
      child.process.send('stop');
      expect(await child.exited).toEqual([0, null]);
      // The output names resources that keep the process alive after the server closed: a timer, a watch, a wait.
      expect(child.output()).toBe('');
    },
  );

  test.each(OTHER_ENDS)(
    'exits while warming runs, on a message or on SIGTERM, on Express %s; perf.close() called: %s',
    async (EXPRESS, CLOSE) => {
      const folder = mkdtempSync(join(tmpdir(), 'hotpath-warming-'));
      const WARMING = join(folder, 'keys.json');
      const child = await start({ EXPRESS, CLOSE, WARMING });
      // The task that hangs is critical, so all others wait for it.
      const task = CLOSE === 'yes' ? 'hangs' : 'fast';
      await waitFor(async () => (await metricOf(child, task)) !== '0');
      if (CLOSE === 'yes') child.process.kill('SIGTERM');
      else child.process.send('stop');
      expect(await child.exited).toEqual([0, null]);
      expect(child.output().replace(/^left: .*\n/, '')).toBe('');
      // The list is written as a whole, or not at all.
      expect(readdirSync(folder)).toEqual(CLOSE === 'yes' ? ['keys.json'] : []);
      rmSync(folder, { recursive: true });
    },
  );

  test.each(OTHER_ENDS)(
    'completes 100 requests in flight on SIGTERM, then exits, on Express %s; perf.close() called: %s [K02]',
    async (EXPRESS, CLOSE) => {
      const child = await start({ EXPRESS, CLOSE });
      const agent = new Agent({ keepAlive: true, maxSockets: 200 });
      let arrived = 0;
      child.process.on('message', () => arrived++);
      // Requests for one cached key wait for the first of them.
      const paths = Array.from({ length: 100 }, (_, i) => (i < 50 ? '/slow' : `/cached/slow?${i % 5}`));
      const pending = paths.map((path) =>
        ask(child.port, { path, agent, headers: { 'Accept-Encoding': 'gzip' } }),
      );
      await waitFor(() => arrived === 100);
      child.process.kill('SIGTERM');
      const answers = await Promise.all(pending);
      expect(answers.filter(({ status, whole }) => status !== 200 || !whole)).toEqual([]);
      expect(new Set(answers.map(({ body }) => body.toString()))).toEqual(
        new Set(['answered. '.repeat(500)]),
      );
      agent.destroy();
      expect(await child.exited).toEqual([0, null]);
      expect(child.output()).toBe('');
      await expect(ask(child.port, { agent: false })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    },
  );
});
