import { connect } from 'node:net';
import type { Response } from 'express';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';
import { times } from '../../helpers/times.js';

const rule = { '/x': { ttl: 60 } } as const;
/** Sends `close`, since a client waits for missing bytes as long as the connection lasts. */
const short = { 'Content-Length': '10', Connection: 'close' };
const fault = (message: string) => {
  throw new Error(message);
};
/** Opens a connection, sends a GET and leaves on demand. */
function openClient(port: number, path: string): { leave: () => void } {
  const socket = connect(port, '127.0.0.1', () =>
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`),
  );
  socket.on('error', () => {});
  return { leave: () => socket.destroy() };
}

describe.each(majors)('waiting for a fill that fails (%s)', (_, express) => {
  it.each<[how: string, seen: number | 'broken', runs: number, fail: (res: Response) => void]>([
    ['throws', 500, 2, () => fault('of the first')],
    ['answers 500', 500, 2, (res) => res.status(500).send('error')],
    ['answers 503', 503, 2, (res) => res.status(503).set('Cache-Control', 'max-age=60').end()],
    ['sends less than it declared', 'broken', 2, (res) => res.writeHead(200, short).end('less')],
    ['breaks off', 'broken', 2, (res) => res.write('half', () => res.destroy())],
    // A left client and a dead handler look the same: the deadline releases the waiting requests one by one.
    ['destroys the connection', 'broken', 31, (res) => res.destroy()],
  ])('responds to waiting requests when the first run %s [H04]', async (_how, seen, runs, fail) => {
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: runs > 2 ? 0.3 : 60 },
      routes: (app, { count }) =>
        app.get('/x', (_req, res, next) => {
          const answer = count() === 1 ? () => fail(res) : () => res.send('whole');
          opened.then(answer).catch(next);
        }),
    });
    const first = made.get('/x').then(
      ({ status }) => status as number | 'broken',
      () => 'broken' as const,
    );
    await waitFor(() => made.runs() === 1);
    const others = times(30, () => made.get('/x'));
    await waitFor(() => made.requests() === 31);
    open();
    expect(await first).toBe(seen);
    for (const { status, text } of await Promise.all(others)) expect([status, text]).toEqual([200, 'whole']);
    expect(made.runs()).toBeLessThanOrEqual(runs);
    await waitFor(() => made.cache.stats().pending === 0);
  });

  it('responds to every client of a failing route after at most two waits [H04]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 60 },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          const n = count();
          // All others wait for the first two runs; the rest must run side by side, or they would never all arrive.
          if (n === 1) await waitFor(() => made.requests() === 50);
          if (n === 2) await nextTurn();
          if (n > 2) await waitFor(() => made.runs() === 50);
          res.status(500).send('error');
        }),
    });
    const answers = await Promise.all(times(50, () => made.get('/x')));
    for (const { status, text } of answers) expect([status, text]).toEqual([500, 'error']);
    expect(made.runs()).toBe(50);
    expect(made.cache.stats().pending).toBe(0);
  });

  it('limits the wait for a handler that never ends to waitTimeout [D07]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 0.2 },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          if (count() > 1) res.send('body');
        }),
    });
    const hung = openClient(made.port, '/x');
    await waitFor(() => made.runs() === 1);
    // The first run still hangs when all others have a response: a request that waited for its end would get none.
    const answers = await Promise.all(times(50, () => made.get('/x')));
    for (const { text } of answers) expect(text).toBe('body');
    expect(made.runs()).toBeLessThanOrEqual(51);
    const runs = made.runs();
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(runs);
    hung.leave();
    expect(made.cache.stats().pending).toBe(0);
  });

  it('releases waiting requests when a handler hangs after its headers [D07]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 0.2 },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          if (count() > 1) res.send('body');
          else res.write('half');
        }),
    });
    const hung = openClient(made.port, '/x');
    await waitFor(() => made.runs() === 1);
    const answers = await Promise.all(times(10, () => made.get('/x')));
    for (const { text } of answers) expect(text).toBe('body');
    hung.leave();
    await waitFor(() => made.cache.stats().pending === 0);
    expect((await made.get('/x')).text).toBe('body');
  });

  it('drops a hung fill whose client left, after waitTimeout [D07]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 0.1 },
      routes: (app, { count }) => app.get('/x', () => void count()),
    });
    const hung = openClient(made.port, '/x');
    await waitFor(() => made.cache.stats().pending === 1);
    hung.leave();
    await waitFor(() => made.cache.stats().pending === 0);
  });

  it('still serves waiting requests when the first client leaves [D06]', async () => {
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (req, res) => {
          count();
          req.once('close', open);
          await opened;
          res.send('body');
        }),
    });
    const first = openClient(made.port, '/x');
    await waitFor(() => made.runs() === 1);
    const others = times(30, () => made.get('/x'));
    await waitFor(() => made.requests() === 31);
    first.leave();
    for (const { text } of await Promise.all(others)) expect(text).toBe('body');
    expect(made.runs()).toBe(1);
    expect(made.cache.stats().pending).toBe(0);
  });

  it('releases 200 waiting clients that leave, and retains nothing [D06]', async () => {
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await opened;
          res.send('body');
        }),
    });
    const first = made.get('/x');
    await waitFor(() => made.runs() === 1);
    const clients = times(200, () => openClient(made.port, '/x'));
    await waitFor(() => made.requests() === 201);
    for (const { leave } of clients) leave();
    open();
    expect((await first).text).toBe('body');
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ pending: 0, entries: 1 });
  });
});
