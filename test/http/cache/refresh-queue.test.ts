import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { RefreshQueue } from '../../../src/cache/revalidate/refresh-queue.js';
import { cacheApp } from '../../helpers/cache.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { majors, waitFor } from '../../helpers/http.js';

describe('the queue of background refreshes', () => {
  function queueOf(concurrency: number) {
    const queue = new RefreshQueue(concurrency);
    const log: string[] = [];
    const ends = new Map<string, () => void>();
    const add = (name: string, isAwaited = false) =>
      queue.add({
        isAwaited: () => isAwaited,
        run: () => {
          log.push(`run ${name}`);
          return new Promise((resolve) => void ends.set(name, resolve));
        },
        drop: () => void log.push(`drop ${name}`),
      });
    const end = async (name: string) => {
      ends.get(name)?.();
      await nextTurn();
    };
    return { queue, log, add, end };
  }

  it('limits concurrent refreshes, and runs those that a client waits for first', async () => {
    const { queue, log, add, end } = queueOf(2);
    for (const name of ['a', 'b', 'c', 'd']) add(name);
    add('e', true);
    add('f', true);
    expect([log, queue.running, queue.waiting]).toEqual([['run a', 'run b'], 2, 4]);
    for (const name of ['a', 'b', 'e', 'f']) await end(name);
    expect(log.slice(2)).toEqual(['run e', 'run f', 'run c', 'run d']);
    for (const name of ['c', 'd']) await end(name);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  it('drops the oldest refresh without a waiting client when too many wait', () => {
    const { log, add } = queueOf(1);
    add('first');
    add('awaited', true);
    for (let i = 0; i < 255; i++) add(String(i));
    expect(log).toEqual(['run first']);
    add('one more');
    expect(log).toEqual(['run first', 'drop 0']);
    for (let i = 0; i < 256; i++) add(`awaited ${i}`, true);
    expect(log.at(-1)).toBe('drop awaited');
  });

  it('drops waiting and later refreshes once it is closed', () => {
    const { queue, log, add } = queueOf(1);
    for (const name of ['a', 'b']) add(name);
    queue.close();
    queue.close();
    add('c');
    expect(log).toEqual(['run a', 'drop b', 'drop c']);
  });
});

describe.each(majors)('many stale keys (%s)', (_, express) => {
  it('run at most `refreshConcurrency` handlers, and a dropped refresh is no failure [H01]', async () => {
    let now = 0;
    let most = 0;
    let isOpen = true;
    const made = await cacheApp({
      express,
      cache: { refreshConcurrency: 8, routes: { '/:id': { ttl: '1h', staleWhileRevalidate: '1h' } } },
      routes: (app, { count }) =>
        app.get('/:id', async (req, res) => {
          const run = count(req.params.id);
          most = Math.max(most, ++now);
          await waitFor(() => isOpen);
          now--;
          res.send(`run ${run}`);
        }),
    });
    const paths = Array.from({ length: 400 }, (_none, i) => `/${i}`);
    await Promise.all(paths.map((path) => made.get(path)));
    await made.cache.expire({ all: true });
    most = 0;
    isOpen = false;
    const answers = await Promise.all(paths.map((path) => made.get(path)));
    expect(answers.every(({ xCache }) => xCache === 'STALE')).toBe(true);
    expect([most, made.cache.stats().refreshing]).toEqual([8, { running: 8, waiting: 256 }]);
    isOpen = true;
    await waitFor(() => made.cache.stats().pending === 0);
    expect(most).toBe(8);
    const { stored, failed, dropped } = made.cache.stats().refreshResults;
    expect([stored, failed, dropped]).toEqual([264, 0, 136]);
    // A dropped key is refreshed on its next request.
    for (const path of paths.slice(8, 12)) {
      await made.get(path);
      await waitFor(async () => (await made.get(path)).text === 'run 2');
    }
  });

  it('serve the stale response at once, where the queue is full of others that wait [H10]', async () => {
    const made = await cacheApp({
      express,
      cache: { refreshConcurrency: 1, routes: { '/:id': { ttl: '1h', staleIfError: '1h', timeout: '1h' } } },
      routes: (app, { count }) =>
        app.get('/:id', (req, res) => {
          // Refreshes hang.
          if (!(req as { hotpath?: object }).hotpath) res.send(`run ${count()}`);
        }),
    });
    const paths = Array.from({ length: 270 }, (_none, i) => `/${i}`);
    await Promise.all(paths.map((path) => made.get(path)));
    await made.cache.expire({ all: true });
    const leave = new AbortController();
    setMaxListeners(0, leave.signal);
    const answers: (string | null)[] = [];
    const all = paths.map((path) =>
      made.get(path, {}, { signal: leave.signal }).then(
        ({ xCache }) => answers.push(xCache),
        () => 'left',
      ),
    );
    // One runs, 256 wait, and the clients of the others wait no longer.
    await waitFor(() => answers.length === 13);
    expect(new Set(answers)).toEqual(new Set(['STALE']));
    expect(made.cache.stats().refreshing).toEqual({ running: 1, waiting: 256 });
    leave.abort();
    await Promise.all(all);
  });

  it('are refreshed once for a request, though what that brings is stale at once [H03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/:id': { ttl: '1h', staleIfError: '1h' } } },
      routes: (app, { count }) =>
        app.get('/:id', (_req, res) => {
          const run = count();
          res.send(`run ${run}`);
          void made.cache.expire({ all: true });
        }),
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x')).status).toBe(200);
    expect(made.runs()).toBeLessThan(5);
  });
});
