import { once } from 'node:events';
import type { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import { describe, expect, it } from 'vitest';
import { ask } from '../../helpers/client.js';
import { majors, waitFor } from '../../helpers/http.js';
import {
  type Client,
  following,
  LENGTH,
  type Paced,
  PIECES,
  paced,
  piece,
  settled,
  WHOLE,
} from '../../helpers/paced.js';
import { times } from '../../helpers/times.js';

describe.each(majors)('following a fill in flight (%s)', (_, express) => {
  it('sends head and pieces to waiting requests while the handler runs, then the rest [H01]', async () => {
    const made = await paced(express);
    const waiting = times(20, () => made.request());
    await waitFor(() => made.runs() === 1);
    await waitFor(() => waiting.every(({ answer }) => answer?.status === 200));
    for (let n = 1; n < PIECES; n++) {
      made.write();
      await waitFor(() => waiting.every(({ body }) => body === WHOLE.slice(0, n * 1000)));
    }
    // A request that arrives now gets all earlier pieces at once.
    const late = made.request();
    await waitFor(() => late.body.length === (PIECES - 1) * 1000);
    made.write();
    made.end();
    const all = [...waiting, late];
    await waitFor(() => all.every(({ isWhole }) => isWhole));
    expect(made.runs()).toBe(1);
    const followers = all.filter(({ answer }) => answer?.header('x-cache') === 'HIT');
    expect(followers).toHaveLength(20);
    for (const { answer } of followers) {
      expect(answer?.header('cache-status')).toBe('hotpath; fwd=uri-miss; collapsed; ttl=59');
      expect(answer?.header('content-length')).toBe(String(LENGTH));
      expect(answer?.header('age')).toBe('0');
    }
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1, hits: 20, misses: 1, collapsed: 20 });
    expect((await made.get('/x')).text).toBe(WHOLE);
    expect(made.runs()).toBe(1);
  });

  it('makes requests wait for the end of a body without a declared length [H01]', async () => {
    const made = await paced(express, { declared: false });
    const leader = made.request();
    await waitFor(() => made.runs() === 1);
    const waiting = made.request();
    await made.arrived(2);
    made.write(PIECES);
    await waitFor(() => leader.body === WHOLE);
    expect(waiting.answer).toBeUndefined();
    made.end();
    await waitFor(() => waiting.isWhole);
    expect(made.runs()).toBe(1);
  });

  it('lets no request follow a declared length beyond maxEntryBytes [D08]', async () => {
    const made = await paced(express, {
      cache: { routes: { '/x': { ttl: 60 } }, maxEntryBytes: LENGTH - 1 },
    });
    const leader = made.request();
    await waitFor(() => made.runs() === 1);
    const other = made.request();
    await waitFor(() => other.isWhole);
    expect(made.runs()).toBe(2);
    made.write(PIECES);
    made.end();
    await waitFor(() => leader.isWhole);
    expect(made.cache.stats().entries).toBe(0);
  });

  it('lets a follower that does not read delay neither the leader nor other followers [D09]', async () => {
    const length = 24 * 1024 ** 2;
    let written = 0;
    const responses: Response[] = [];
    const made = await paced(express, {
      cache: { routes: { '/x': { ttl: 60 } }, maxEntryBytes: '32mb' },
      before: (app) =>
        app.use((_req, res, next) => {
          responses.push(res);
          next();
        }),
      declared: length,
      send: async (res, pieces) => {
        await once(pieces, 'data');
        for (; written < length; written += 65_536) {
          if (!res.write(Buffer.alloc(65_536, written / 65_536))) await once(res, 'drain');
        }
        await once(pieces, 'data');
        res.end();
      },
    });
    const leader = ask(made.port, { path: '/x', agent: false });
    await waitFor(() => made.runs() === 1);
    const slow = made.request();
    await waitFor(() => slow.answer !== undefined);
    slow.socket.pause();
    const quick = ask(made.port, { path: '/x', agent: false });
    await made.arrived(3);
    made.write();
    await waitFor(() => written === length && responses[2]?.writableLength === 0);
    // Its unread bytes exist only in the recording, not in a separate queue.
    expect(responses[1]?.writableLength).toBeLessThan(1024 ** 2);
    made.write();
    const { coded } = await leader;
    expect((await quick).coded.equals(coded)).toBe(true);
    expect(coded).toHaveLength(length);
    expect(slow.body.length).toBeLessThan(length);
    // It is late, but loses nothing.
    let received = slow.body.length;
    slow.socket.removeAllListeners('data');
    slow.socket.on('data', (data: Buffer) => {
      received += data.length;
    });
    slow.socket.resume();
    await waitFor(() => received === length);
    expect(made.runs()).toBe(1);
  });

  it.each<[how: string, spoil: (made: Paced) => void, declared?: number]>([
    ['breaks off', ({ pieces }) => void pieces.destroy(new Error('of the source'))],
    ['ends before its declared length', ({ end }) => end()],
    [
      'is longer than declared',
      ({ write, end }) => {
        write(PIECES);
        end();
      },
    ],
  ])('aborts followers when the body %s, and serves the next request in full [D02]', async (_how, spoil) => {
    const made = await paced(express, {
      send: async (res, pieces) => {
        try {
          for await (const data of pieces) res.write(data);
          res.end();
        } catch {
          res.destroy();
        }
      },
    });
    const { leader, followers } = await following(made, 5);
    spoil(made);
    await waitFor(() => followers.every(({ closed }) => closed));
    for (const { body, answer } of followers) {
      expect(answer?.header('content-length')).toBe(String(LENGTH));
      expect(body.length).toBeLessThan(LENGTH);
      expect(WHOLE.startsWith(body)).toBe(true);
    }
    leader.leave();
    await settled(made);
    expect(made.cache.stats()).toMatchObject({ stores: 0, entries: 0 });
    expect((await made.get('/x')).text).toBe(WHOLE);
  });

  it('holds back the last byte for followers until the response ends [D03]', async () => {
    const made = await paced(express);
    const { leader, followers } = await following(made, 3);
    made.write(PIECES - 1);
    await waitFor(() => leader.isWhole);
    await waitFor(() => followers.every(({ body }) => body.length === LENGTH - 1));
    made.write();
    await waitFor(() => followers.every(({ closed }) => closed));
    for (const { body } of followers) expect(body).toBe(WHOLE.slice(0, -1));
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 0 });
  });

  it("continues followers when the leader's client leaves and the handler goes on [D06]", async () => {
    const made = await paced(express);
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await settled(made); // no further request joins
    made.write();
    await waitFor(() => followers.every(({ body }) => body.length === 2000));
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => followers.every(({ isWhole }) => isWhole));
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1 });
    expect((await made.get('/x')).text).toBe(WHOLE);
    expect(made.runs()).toBe(1);
  });

  it.each<[how: string, send: (res: Response, pieces: PassThrough) => unknown]>([
    ['a pipeline', (res, pieces) => pipeline(pieces, res).catch(() => {})],
    ['a pipe', (res, pieces) => pieces.pipe(res)],
  ])(
    'serves followers the rest from another run when the leader leaves %s, which stops [D06]',
    async (_how, send) => {
      const made = await paced(express, { cache: { routes: { '/x': { ttl: 60 } }, waitTimeout: 60 }, send });
      const { leader, followers } = await following(made, 5);
      leader.leave();
      await waitFor(() => followers.every(({ isWhole }) => isWhole));
      expect(made.runs()).toBe(2);
      expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1, refreshes: 1 });
      expect(await made.get('/x')).toMatchObject({ text: WHOLE, xCache: 'HIT' });
    },
  );

  it('starts another run after waitTimeout when the abandoned handler is silent [D06, D07]', async () => {
    const made = await paced(express, { cache: { routes: { '/x': { ttl: 60 } }, waitTimeout: 0.2 } });
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await waitFor(() => followers.every(({ isWhole }) => isWhole));
    expect(made.runs()).toBe(2);
  });

  it.each<[what: string, answer: (res: Response) => unknown]>([
    ['another beginning', (res) => res.send(WHOLE.replace('piece 0', 'other 0'))],
    ['another length', (res) => res.send(`${WHOLE}.`)],
    ['another date', (res) => res.set('Last-Modified', new Date().toUTCString()).send(WHOLE)],
    ['an error', (res) => res.status(500).send(WHOLE)],
    ['a private response', (res) => res.set('Cache-Control', 'private').send(WHOLE)],
  ])('aborts followers when the second run sends %s [D02, D06]', async (_what, again) => {
    const made = await paced(express, { send: (res, pieces) => pieces.pipe(res), again });
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await waitFor(() => followers.every(({ closed }) => closed));
    for (const { body } of followers) expect(body).toBe(piece(0));
    expect(made.runs()).toBe(2);
  });

  it('aborts followers at once when the response depends on the client that left [D06]', async () => {
    const made = await paced(express, {
      cache: { routes: { '/x': { ttl: 60, partition: () => 'mine' } }, waitTimeout: 60 },
      send: (res, pieces) => pieces.pipe(res),
    });
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await waitFor(() => followers.every(({ closed }) => closed));
    for (const { body } of followers) expect(body).toBe(piece(0));
    expect(made.runs()).toBe(1);
  });

  it('limits how long a leader that does not read holds followers to waitTimeout [D07]', async () => {
    const length = 24 * 1024 ** 2;
    const block = Buffer.alloc(65_536, 'x');
    const made = await paced(express, {
      cache: { routes: { '/x': { ttl: 60 } }, waitTimeout: 0.3, maxEntryBytes: '32mb' },
      declared: length,
      send: async (res, pieces) => {
        await once(pieces, 'data');
        for (let at = 0; at < length; at += block.length) if (!res.write(block)) await once(res, 'drain');
        res.end();
      },
      again: (res) => res.send(Buffer.alloc(length, 'x')),
    });
    const leader = made.request();
    await waitFor(() => made.runs() === 1 && leader.answer);
    leader.socket.pause();
    const follower = ask(made.port, { path: '/x', agent: false });
    await made.arrived(2);
    made.write();
    const { coded, whole } = await follower;
    expect([whole, coded.length]).toEqual([true, length]);
    expect(made.runs()).toBe(2);
    expect(leader.closed).toBe(false);
    leader.leave();
  });

  it('lets no request join a stalled body after waitTimeout [D07]', async () => {
    const made = await paced(express, { cache: { routes: { '/x': { ttl: 60 } }, waitTimeout: 2 } });
    const { leader, followers } = await following(made, 1);
    await settled(made);
    expect((await made.get('/x')).text).toBe(WHOLE);
    expect(made.runs()).toBe(2);
    // Earlier followers stay with the leader, whose response may still be complete.
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && followers[0]?.isWhole);
  });

  it('releases 200 followers that leave at any time, without affecting others [D06]', async () => {
    const made = await paced(express);
    const { leader, followers } = await following(made, 200);
    const [stays, ...others] = followers as [Client, ...Client[]];
    for (const [i, client] of others.entries()) if (i % 2) client.leave();
    made.write();
    for (const client of others) client.leave();
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => leader.isWhole && stays.isWhole);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1 });
    expect(made.faults).toEqual([]);
  });
});
