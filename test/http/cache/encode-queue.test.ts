import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type EncodeJob, EncodeQueue, type QueueBounds } from '../../../src/cache/storage/encode-queue.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { waitFor } from '../../helpers/http.js';

const effort = { level: 6, brotliQuality: 4, zstdLevel: 3, minimumGain: 0.1 };
const job = (key: string, upgrade = false): EncodeJob => ({ key, coding: 'br', effort, upgrade });

let open: EncodeQueue[] = [];
afterEach(() => {
  for (const queue of open) queue.close();
  open = [];
});

/** A queue whose jobs last until the test ends them, with a clock and an event loop of the test. */
function make(bounds: QueueBounds = {}) {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const state = { now: 0, use: 0, watched: 0 };
  const queue = new EncodeQueue(
    ({ key }) => {
      begun.push(key);
      return new Promise((resolve) => ends.push(resolve));
    },
    { watch: 1, ...bounds },
    () => state.now,
    () => {
      state.watched++;
      return () => state.use;
    },
  );
  open.push(queue);
  return { queue, begun, state, end: () => ends.shift()?.() };
}

describe('the queue of encoding jobs', () => {
  it('runs one job at a time, in order, after the call that adds it has returned', async () => {
    const { queue, begun, end } = make();
    for (const key of ['a', 'b', 'c']) expect(queue.add(job(key))).toBe(true);
    expect(begun).toEqual([]);
    await waitFor(() => begun.length > 0);
    await nextTurn();
    expect(begun).toEqual(['a']);
    end();
    await waitFor(() => begun.length === 2);
    end();
    await waitFor(() => begun.length === 3);
    expect([begun, queue.size]).toEqual([['a', 'b', 'c'], 0]);
  });

  it('takes no more of 10,000 jobs at once than its bounds allow [I-BOUND]', () => {
    const { queue } = make();
    let taken = 0;
    for (let i = 0; i < 10_000; i++) if (queue.add(job(`${i}`))) taken++;
    expect([taken, queue.size]).toEqual([256, 256]);
    for (let i = 0; i < 10_000; i++) if (queue.add(job(`${i}`, true))) taken++;
    expect([taken, queue.size]).toEqual([320, 320]);
  });

  it('delays an upgrade until the event loop is nearly idle and every first form is done', async () => {
    const { queue, begun, state, end } = make();
    state.use = 0.9;
    queue.add(job('up', true));
    await waitFor(() => state.watched >= 3);
    expect(begun).toEqual([]);
    queue.add(job('first'));
    await waitFor(() => begun.length === 1);
    state.use = 0.1;
    end();
    await waitFor(() => begun.length === 2);
    expect(begun).toEqual(['first', 'up']);
  });

  it('limits upgrades to a share of a core: 10 ms of work, then 190 ms of rest', async () => {
    const { queue, begun, state, end } = make();
    queue.add(job('one', true));
    queue.add(job('two', true));
    await waitFor(() => begun.length === 1);
    const timers = vi.spyOn(globalThis, 'setTimeout');
    state.now = 10;
    end();
    await nextTurn(); // the rest period starts now
    queue.add(job('first'));
    await nextTurn();
    expect(begun).toEqual(['one', 'first']); // first forms do not rest
    end();
    const [[, rest]] = timers.mock.calls as [[unknown, number]];
    timers.mockRestore();
    expect(rest).toBe(190);
    await waitFor(() => begun.includes('two'));
    expect(begun).toEqual(['one', 'first', 'two']);
  });

  it('drops waiting jobs on close, starts none and accepts none', async () => {
    const { queue, begun, end } = make();
    queue.add(job('a'));
    queue.add(job('b'));
    queue.add(job('up', true));
    await waitFor(() => begun.length === 1);
    queue.close();
    queue.close();
    end();
    expect([queue.add(job('c')), queue.add(job('d', true)), queue.size]).toEqual([false, false, 0]);
    await delay(10);
    expect(begun).toEqual(['a']);
  });

  it('runs a job outside the AsyncLocalStorage of its request', async () => {
    const storage = new AsyncLocalStorage<string>();
    let seen: unknown = 'not run';
    const queue = new EncodeQueue(async () => {
      seen = storage.getStore();
    });
    open.push(queue);
    storage.run('a client', () => queue.add(job('a')));
    await waitFor(() => seen !== 'not run');
    expect(seen).toBeUndefined();
  });
});
