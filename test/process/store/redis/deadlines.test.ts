import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import { DeadlineQueue } from '../../../../src/store/redis/guard/deadline-queue.js';
import { systemTimers } from '../../../../src/store/redis/timers.js';
import { waitFor } from '../../../helpers/http.js';
import { program } from '../../../helpers/program.js';

it('calls each missed deadline once, in order, and not early', async () => {
  const deadlines = new DeadlineQueue(30);
  const begun: number[] = [];
  const told: { which: number; after: number }[] = [];
  const add = (which: number) => {
    begun[which] = performance.now();
    deadlines.add(() => told.push({ which, after: performance.now() - begun[which]! }));
  };
  add(0);
  add(1);
  await waitFor(() => performance.now() - begun[0]! > 10);
  add(2);
  await waitFor(() => told.length === 3);
  add(3);
  await waitFor(() => told.length === 4);
  expect(told.map(({ which }) => which)).toEqual([0, 1, 2, 3]);
  for (const { after } of told) expect(after).toBeGreaterThanOrEqual(30);
});

it('calls no deadline that was met, while others are missed', async () => {
  const deadlines = new DeadlineQueue(20);
  const told: string[] = [];
  const met = ['first', 'between', 'last'].map((name) => deadlines.add(() => told.push(name)));
  deadlines.meet(met[1]!);
  deadlines.meet(met[0]!);
  deadlines.meet(met[0]!);
  deadlines.add(() => told.push('missed'));
  deadlines.meet(met[2]!);
  await waitFor(() => told.length > 0);
  const after = deadlines.add(() => told.push('after'));
  deadlines.meet(after);
  deadlines.add(() => told.push('missed too'));
  await waitFor(() => told.length > 1);
  expect(told).toEqual(['missed', 'missed too']);
});

it('keeps the process alive until an open deadline is missed, and not for a met one', async () => {
  const { execArgv, file } = program('src/store/redis/guard/deadline-queue.ts');
  const begin = (after: number) => `
    import { DeadlineQueue } from ${JSON.stringify(file)};
    const deadlines = new DeadlineQueue(${after});`;
  const run = async (script: string) => {
    const begun = performance.now();
    const child = spawn(process.execPath, [...execArgv, '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    const [status] = await once(child, 'close');
    return { status, text, took: performance.now() - begun };
  };
  const missed = await run(`${begin(50)} deadlines.add(() => console.log('missed'));`);
  expect(missed).toMatchObject({ status: 0, text: 'missed\n' });
  const met = await run(`${begin(60_000)}
    const first = deadlines.add(() => {});
    deadlines.meet(first);
    deadlines.meet(deadlines.add(() => {}));
    console.log('met');`);
  expect(met).toMatchObject({ status: 0, text: 'met\n' });
  expect(met.took).toBeLessThan(50_000);
});

it.each<[string, (call: () => void) => unknown]>([
  ['deadlines', (call) => new DeadlineQueue(1).add(call)],
  ['later calls', (call) => systemTimers.after(1, call, true)],
])('%s keep no client’s async context, since others follow from them [H12]', async (_what, add) => {
  const users = new AsyncLocalStorage<string>();
  const seen = await users.run(
    'alice',
    () => new Promise((resolve) => void add(() => resolve(users.getStore() ?? 'nobody'))),
  );
  expect(seen).toBe('nobody');
});
