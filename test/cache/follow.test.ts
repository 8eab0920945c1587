import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Request, Response } from 'express';
import session from 'express-session';
import { hotpath } from 'hotpath';
import { cacheOf, type StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, type CacheAppOptions, cacheApp } from '../helpers/cache.js';
import { ask } from '../helpers/client.js';
import { majors, parse, waitFor } from '../helpers/http.js';

const times = <T>(count: number, one: (i: number) => T) => Array.from({ length: count }, (_, i) => one(i));
const piece = (i: number) => `piece ${i} `.padEnd(1000, 'x');
const PIECES = 5;
const LENGTH = PIECES * 1000;
const WHOLE = times(PIECES, piece).join('');

/** A visitor over a plain socket, who sees what has come so far. */
class Visitor {
  readonly socket: Socket;
  closed = false;
  #wire = Buffer.alloc(0);

  constructor(port: number, headers: Record<string, string> = {}, version = '1.1', path = '/x') {
    const lines = Object.entries({ Host: `127.0.0.1:${port}`, ...headers }).map(([n, v]) => `${n}: ${v}\r\n`);
    this.socket = connect(port, '127.0.0.1', () =>
      this.socket.write(`GET ${path} HTTP/${version}\r\n${lines.join('')}\r\n`),
    );
    this.socket.on('data', (data: Buffer) => {
      this.#wire = Buffer.concat([this.#wire, data]);
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  get answer() {
    return this.#wire.includes('\r\n\r\n') ? parse(this.#wire) : undefined;
  }
  get body(): string {
    return this.answer?.text ?? '';
  }
  get isWhole(): boolean {
    return this.body === WHOLE;
  }
  leave(): void {
    this.socket.destroy();
  }
}

/** A handler that the test lets write piece by piece; only its first run waits for that. */
async function paced(
  express: CacheAppOptions['express'],
  options: {
    cache?: StandaloneCacheOptions;
    before?: CacheAppOptions['before'];
    head?: (res: Response, req: Request) => void;
    declared?: number | false;
    /** What runs after the first answer. Default: the whole. */
    again?: (res: Response) => unknown;
    /** Default: writes until the end, whoever listens. */
    send?: (res: Response, pieces: PassThrough) => unknown;
  } = {},
) {
  let arrived = 0;
  const pieces = new PassThrough({ highWaterMark: 1 << 20 });
  const { declared = LENGTH } = options;
  const write = async (res: Response) => {
    for await (const data of pieces) res.write(data);
    res.end();
  };
  const made = await cacheApp({
    express,
    cache: { routes: { '/x': { ttl: 60 } }, ...options.cache },
    before: (app) => {
      app.use((_req, _res, next) => {
        arrived++;
        next();
      });
      options.before?.(app);
    },
    routes: (app, { count }) =>
      app.get('/x', (req, res) => {
        const run = count();
        options.head?.(res, req);
        if (run > 1) return void (options.again ?? ((again) => again.send(WHOLE)))(res);
        if (declared !== false) res.set('Content-Length', String(declared));
        res.flushHeaders();
        void (async () => (options.send ?? write)(res, pieces))();
      }),
  });
  let written = 0;
  return {
    ...made,
    visit: (headers?: Record<string, string>, version?: string) => new Visitor(made.port, headers, version),
    arrived: (n: number) => waitFor(() => arrived >= n),
    write(n = 1) {
      for (let i = 0; i < n; i++) pieces.write(piece(written++));
    },
    end: () => void pieces.end(),
    pieces,
  };
}
type Paced = Awaited<ReturnType<typeof paced>>;

/** A leader and some who follow, all of whom have got the first piece. */
async function following(made: Paced, count: number, headers: Record<string, string> = {}) {
  const leader = made.visit(headers);
  await waitFor(() => made.runs() === 1);
  made.write();
  await waitFor(() => leader.body.length === 1000);
  const followers = times(count, () => made.visit(headers));
  await waitFor(() => followers.every(({ body }) => body.length === 1000));
  return { leader, followers };
}

async function settled({ cache }: CacheApp) {
  await waitFor(() => cache.stats().pending === 0);
}

describe.each(majors)('following a running fill, on %s', (_, express) => {
  it('H01 those who wait get the head and each piece while the handler still runs, and all of it in the end', async () => {
    const made = await paced(express);
    const waiting = times(20, () => made.visit());
    await waitFor(() => made.runs() === 1);
    await waitFor(() => waiting.every(({ answer }) => answer?.status === 200));
    for (let n = 1; n < PIECES; n++) {
      made.write();
      await waitFor(() => waiting.every(({ body }) => body === WHOLE.slice(0, n * 1000)));
    }
    // Who comes now gets at once what the others have.
    const late = made.visit();
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

  it('H01 without a declared length they wait for the end', async () => {
    const made = await paced(express, { declared: false });
    const leader = made.visit();
    await waitFor(() => made.runs() === 1);
    const waiting = made.visit();
    await made.arrived(2);
    made.write(PIECES);
    await waitFor(() => leader.body === WHOLE);
    expect(waiting.answer).toBeUndefined();
    made.end();
    await waitFor(() => waiting.isWhole);
    expect(made.runs()).toBe(1);
  });

  it('D08 a declared length beyond maxEntryBytes is followed by nobody', async () => {
    const made = await paced(express, {
      cache: { routes: { '/x': { ttl: 60 } }, maxEntryBytes: LENGTH - 1 },
    });
    const leader = made.visit();
    await waitFor(() => made.runs() === 1);
    const other = made.visit();
    await waitFor(() => other.isWhole);
    expect(made.runs()).toBe(2);
    made.write(PIECES);
    made.end();
    await waitFor(() => leader.isWhole);
    expect(made.cache.stats().entries).toBe(0);
  });

  it('D09 a follower that reads nothing holds back neither the leader nor the others', async () => {
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
    const slow = made.visit();
    await waitFor(() => slow.answer !== undefined);
    slow.socket.pause();
    const quick = ask(made.port, { path: '/x', agent: false });
    await made.arrived(3);
    made.write();
    await waitFor(() => written === length && responses[2]?.writableLength === 0);
    // What it does not read yet is in the recording alone, not in a queue of its own.
    expect(responses[1]?.writableLength).toBeLessThan(1024 ** 2);
    made.write();
    const { coded } = await leader;
    expect((await quick).coded.equals(coded)).toBe(true);
    expect(coded).toHaveLength(length);
    expect(slow.body.length).toBeLessThan(length);
    // It is behind, and loses nothing by it.
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
  ])(
    'D02 when the body %s, those who follow see that it broke, and the next get the whole',
    async (_how, spoil) => {
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
    },
  );

  it('D03 nothing looks whole before its end: the last byte waits for it', async () => {
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

  it('D06 when the leader’s visitor leaves and the handler goes on, so do those who follow', async () => {
    const made = await paced(express);
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await settled(made); // nobody is to join it any more
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
    'D06 when it leaves %s, which then stops, those who follow get the rest from another run',
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

  it('D06 D07 when it leaves a handler that says nothing more, they get it after waitTimeout', async () => {
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
    ['what may not be shared', (res) => res.set('Cache-Control', 'private').send(WHOLE)],
  ])('D02 D06 where the other run brings %s, those who follow see that it broke', async (_what, again) => {
    const made = await paced(express, { send: (res, pieces) => pieces.pipe(res), again });
    const { leader, followers } = await following(made, 5);
    leader.leave();
    await waitFor(() => followers.every(({ closed }) => closed));
    for (const { body } of followers) expect(body).toBe(piece(0));
    expect(made.runs()).toBe(2);
  });

  it('D06 where it can’t be had again without its visitor, those who follow see at once that it broke', async () => {
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

  it('D07 a leader’s visitor who does not read holds those who follow no longer than waitTimeout', async () => {
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
    const leader = made.visit();
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

  it('D07 a handler that stops within the body does not poison the key: after waitTimeout nobody joins', async () => {
    const made = await paced(express, { cache: { routes: { '/x': { ttl: 60 } }, waitTimeout: 2 } });
    const { leader, followers } = await following(made, 1);
    await settled(made);
    expect((await made.get('/x')).text).toBe(WHOLE);
    expect(made.runs()).toBe(2);
    // Whoever had joined shares the leader's lot, which may be a good one.
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && followers[0]?.isWhole);
  });

  it('D06 200 visitors that follow and leave at any moment keep nothing, and disturb nobody', async () => {
    const made = await paced(express);
    const { leader, followers } = await following(made, 200);
    const [stays, ...others] = followers as [Visitor, ...Visitor[]];
    for (const [i, visitor] of others.entries()) if (i % 2) visitor.leave();
    made.write();
    for (const visitor of others) visitor.leave();
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => leader.isWhole && stays.isWhole);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1 });
    expect(made.faults).toEqual([]);
  });

  it('H07 who comes after a purge gets nothing of a fill that began before it; who followed already goes on', async () => {
    const made = await paced(express, { head: (res) => void cacheOf(res).tag('early') });
    const { leader, followers } = await following(made, 3);
    await made.cache.purge({ tag: 'early' });
    const after = made.visit();
    await made.arrived(5);
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && followers.every(({ isWhole }) => isWhole) && after.isWhole);
    expect(made.runs()).toBe(2);
    expect(after.answer?.header('x-cache')).toBe('MISS');
  });

  it('H07 nor when the purge is of a tag that the handler names only at the end', async () => {
    const made = await paced(express, {
      send: async (res, pieces) => {
        for await (const data of pieces) res.write(data);
        cacheOf(res).tag('late');
        res.end();
      },
    });
    await following(made, 1);
    await made.cache.purge({ tag: 'late' });
    const after = made.visit();
    await made.arrived(3);
    made.write(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(after.answer).toBeUndefined();
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => after.isWhole);
    expect(made.runs()).toBe(2);
  });

  it('H02 who differs in what the response varies by does not follow', async () => {
    const made = await paced(express, { head: (res) => res.vary('Accept-Language') });
    const { leader, followers } = await following(made, 2, { 'Accept-Language': 'de' });
    const other = made.visit({ 'Accept-Language': 'fr' });
    await made.arrived(4);
    made.write();
    await waitFor(() => followers.every(({ body }) => body.length === 2000));
    expect(other.answer).toBeUndefined();
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => [leader, other, ...followers].every(({ isWhole }) => isWhole));
    expect(made.runs()).toBe(2);
  });

  it.each<[what: string, before: CacheAppOptions['before'], head: (res: Response, req: Request) => void]>([
    [
      'a session that sets its cookie as the headers go',
      (app) => app.use(session({ secret: 's', resave: false, saveUninitialized: true })),
      () => {},
    ],
    ['private', undefined, (res) => res.set('Cache-Control', 'private')],
    ['a cookie', undefined, (res) => res.cookie('sid', 'mine')],
  ])('H02 a response with %s is followed by nobody', async (_what, before, head) => {
    const made = await paced(express, { before, head });
    const leader = made.visit();
    await waitFor(() => made.runs() === 1);
    const others = times(10, () => made.visit());
    await waitFor(() => others.every(({ isWhole }) => isWhole));
    expect(made.runs()).toBe(11);
    made.write(PIECES);
    made.end();
    await waitFor(() => leader.isWhole);
    expect(made.cache.stats().stores).toBe(0);
  });

  it('a visitor who has it already gets 304 at once, by the handler’s tag or date; by our tag, when it is made', async () => {
    const date = new Date(Date.now() - 100_000).toUTCString();
    for (const validator of ['ETag', 'Last-Modified', undefined]) {
      const made = await paced(express, {
        head: (res) => {
          if (validator) res.set(validator, validator === 'ETag' ? '"mine"' : date);
        },
      });
      const { leader } = await following(made, 1);
      const asks: Record<string, string> =
        validator === 'Last-Modified' ? { 'If-Modified-Since': date } : { 'If-None-Match': 'W/"mine"' };
      const visitor = made.visit(asks);
      await made.arrived(3);
      if (validator) await waitFor(() => visitor.answer?.status === 304);
      else {
        made.write();
        await waitFor(() => leader.body.length === 2000);
        expect(visitor.answer).toBeUndefined();
        made.write(PIECES - 2);
        made.end();
        await waitFor(() => visitor.isWhole);
      }
      expect(made.runs()).toBe(1);
    }
  });

  it('a HEAD or a range asked for meanwhile is answered by the handler, without waiting', async () => {
    const made = await paced(express);
    const { leader } = await following(made, 1);
    const head = await made.raw('HEAD /x HTTP/1.1\nConnection: close');
    expect([head.status, head.header('content-length')]).toEqual([200, String(LENGTH)]);
    const range = await made.get('/x', { Range: 'bytes=0-9' });
    expect([range.status, range.text]).toEqual([200, WHOLE]);
    leader.leave();
  });

  it('HTTP/1.0 visitors follow too', async () => {
    const made = await paced(express);
    const { leader } = await following(made, 1);
    const old = made.visit({}, '1.0');
    await waitFor(() => old.body.length === 1000);
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && old.closed);
    expect(old.body).toBe(WHOLE);
    expect(made.runs()).toBe(1);
  });

  it('H02 the AsyncLocalStorage of one who follows is its own', async () => {
    const storage = new AsyncLocalStorage<string>();
    const wrote: [asked: string, found: string | undefined][] = [];
    const made = await paced(express, {
      before: (app) =>
        app.use((req, res, next) => {
          const id = String(req.headers['x-id']);
          storage.run(id, () => {
            for (const name of ['write', 'end'] as const) {
              const method = res[name] as (...args: unknown[]) => never;
              res[name] = (...args: unknown[]) => {
                wrote.push([id, storage.getStore()]);
                return method.apply(res, args);
              };
            }
            next();
          });
        }),
    });
    const leader = made.visit({ 'X-Id': 'leader' });
    await waitFor(() => made.runs() === 1);
    const followers = times(5, (i) => made.visit({ 'X-Id': `follower ${i}` }));
    await waitFor(() => followers.every(({ answer }) => answer));
    for (let n = 1; n < PIECES; n++) {
      made.write();
      await waitFor(() => followers.every(({ body }) => body.length === n * 1000));
    }
    made.write();
    made.end();
    await waitFor(() => [leader, ...followers].every(({ isWhole }) => isWhole));
    const own = wrote.filter(([asked]) => asked !== 'leader');
    expect(own.length).toBeGreaterThanOrEqual(5 * PIECES);
    for (const [asked, found] of own) expect(found).toBe(asked);
  });

  it('what a middleware after us does to the chunks of one is not seen by the others', async () => {
    const made = await paced(express, {
      before: (app) =>
        app.use((req, res, next) => {
          if (req.headers['x-spoil']) {
            for (const name of ['write', 'end'] as const) {
              const method = res[name] as (...args: unknown[]) => never;
              res[name] = (...[chunk, ...args]: unknown[]) =>
                method.call(res, (chunk as Buffer).fill('!'), ...args);
            }
          }
          next();
        }),
    });
    const leader = made.visit();
    await waitFor(() => made.runs() === 1);
    const [spoilt, other] = [made.visit({ 'X-Spoil': '1' }), made.visit()];
    await waitFor(() => spoilt.answer && other.answer);
    made.write(2);
    await waitFor(() => spoilt.body === '!'.repeat(2000) && other.body.length === 2000);
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => leader.isWhole && other.isWhole);
    expect((await made.get('/x')).text).toBe(WHOLE);
  });

  it('each follower gets the coding it accepts, all of one run of the handler', async () => {
    const perf = hotpath({ routes: { '/x': { cache: { ttl: 60 } } }, metrics: false });
    const made = await paced(express, {
      cache: { routes: {} },
      before: (app) => app.use(perf),
      head: (res) => res.type('text'),
    });
    const codings: [accept: string, decode: (body: Buffer) => Buffer][] = [
      ['br', brotliDecompressSync],
      ['gzip', gunzipSync],
      ['identity', (body) => body],
    ];
    const leader = made.visit({ 'Accept-Encoding': 'identity' });
    await waitFor(() => made.runs() === 1);
    const followers = codings.map(([accept]) => made.visit({ 'Accept-Encoding': accept }));
    await waitFor(() => followers.every(({ answer }) => answer));
    for (let n = 0; n < PIECES; n++) made.write();
    made.end();
    await waitFor(() => leader.isWhole);
    for (const [i, [accept, decode]] of codings.entries()) {
      const follower = followers[i]!;
      await waitFor(() => {
        try {
          return decode(follower.answer!.body).toString() === WHOLE;
        } catch {
          return false;
        }
      });
      const coding = follower.answer?.header('content-encoding');
      expect(coding).toBe(accept === 'identity' ? undefined : accept);
      expect(follower.answer?.header('cache-status')).toMatch(/fwd=uri-miss; collapsed/);
    }
    expect(made.runs()).toBe(1);
    await perf.close();
  });
});
