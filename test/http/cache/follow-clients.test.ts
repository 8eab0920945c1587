import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Request, Response } from 'express';
import session from 'express-session';
import { hotpath } from 'hotpath';
import { cacheOf } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import type { CacheAppOptions } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { following, LENGTH, PIECES, paced, WHOLE } from '../../helpers/paced.js';
import { times } from '../../helpers/times.js';

describe.each(majors)('requests that follow a fill in flight (%s)', (_, express) => {
  it('excludes requests after a purge from an older fill, but not earlier followers [H07]', async () => {
    const made = await paced(express, { head: (res) => void cacheOf(res).tag('early') });
    const { leader, followers } = await following(made, 3);
    await made.cache.purge({ tag: 'early' });
    const after = made.request();
    await made.arrived(5);
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && followers.every(({ isWhole }) => isWhole) && after.isWhole);
    expect(made.runs()).toBe(2);
    expect(after.answer?.header('x-cache')).toBe('MISS');
  });

  it('excludes them also when the handler names the purged tag at the end [H07]', async () => {
    const made = await paced(express, {
      send: async (res, pieces) => {
        for await (const data of pieces) res.write(data);
        cacheOf(res).tag('late');
        res.end();
      },
    });
    await following(made, 1);
    await made.cache.purge({ tag: 'late' });
    const after = made.request();
    await made.arrived(3);
    made.write(1);
    await delay(50);
    expect(after.answer).toBeUndefined();
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => after.isWhole);
    expect(made.runs()).toBe(2);
  });

  it('does not let a request with another variant follow [H02]', async () => {
    const made = await paced(express, { head: (res) => res.vary('Accept-Language') });
    const { leader, followers } = await following(made, 2, { 'Accept-Language': 'de' });
    const other = made.request({ 'Accept-Language': 'fr' });
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
  ])('lets no request follow a response with %s [H02]', async (_what, before, head) => {
    const made = await paced(express, { before, head });
    const leader = made.request();
    await waitFor(() => made.runs() === 1);
    const others = times(10, () => made.request());
    await waitFor(() => others.every(({ isWhole }) => isWhole));
    expect(made.runs()).toBe(11);
    made.write(PIECES);
    made.end();
    await waitFor(() => leader.isWhole);
    expect(made.cache.stats().stores).toBe(0);
  });

  it('sends 304 as soon as the validator is known: ETag, date or generated ETag', async () => {
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
      const client = made.request(asks);
      await made.arrived(3);
      if (validator) await waitFor(() => client.answer?.status === 304);
      else {
        made.write();
        await waitFor(() => leader.body.length === 2000);
        expect(client.answer).toBeUndefined();
        made.write(PIECES - 2);
        made.end();
        await waitFor(() => client.isWhole);
      }
      expect(made.runs()).toBe(1);
    }
  });

  it('runs the handler for a HEAD or range request during a fill, without waiting', async () => {
    const made = await paced(express);
    const { leader } = await following(made, 1);
    const head = await made.raw('HEAD /x HTTP/1.1\nConnection: close');
    expect([head.status, head.header('content-length')]).toEqual([200, String(LENGTH)]);
    const range = await made.get('/x', { Range: 'bytes=0-9' });
    expect([range.status, range.text]).toEqual([200, WHOLE]);
    leader.leave();
  });

  it('lets HTTP/1.0 clients follow', async () => {
    const made = await paced(express);
    const { leader } = await following(made, 1);
    const old = made.request({}, '1.0');
    await waitFor(() => old.body.length === 1000);
    made.write(PIECES - 1);
    made.end();
    await waitFor(() => leader.isWhole && old.closed);
    expect(old.body).toBe(WHOLE);
    expect(made.runs()).toBe(1);
  });

  it('keeps the AsyncLocalStorage of a following request [H02]', async () => {
    const storage = new AsyncLocalStorage<string>();
    const wrote: [id: string, found: string | undefined][] = [];
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
    const leader = made.request({ 'X-Id': 'leader' });
    await waitFor(() => made.runs() === 1);
    const followers = times(5, (i) => made.request({ 'X-Id': `follower ${i}` }));
    await waitFor(() => followers.every(({ answer }) => answer));
    for (let n = 1; n < PIECES; n++) {
      made.write();
      await waitFor(() => followers.every(({ body }) => body.length === n * 1000));
    }
    made.write();
    made.end();
    await waitFor(() => [leader, ...followers].every(({ isWhole }) => isWhole));
    const own = wrote.filter(([id]) => id !== 'leader');
    expect(own.length).toBeGreaterThanOrEqual(5 * PIECES);
    for (const [id, found] of own) expect(found).toBe(id);
  });

  it("hides changes that a middleware makes to one follower's chunks from the others", async () => {
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
    const leader = made.request();
    await waitFor(() => made.runs() === 1);
    const [spoilt, other] = [made.request({ 'X-Spoil': '1' }), made.request()];
    await waitFor(() => spoilt.answer && other.answer);
    made.write(2);
    await waitFor(() => spoilt.body === '!'.repeat(2000) && other.body.length === 2000);
    made.write(PIECES - 2);
    made.end();
    await waitFor(() => leader.isWhole && other.isWhole);
    expect((await made.get('/x')).text).toBe(WHOLE);
  });

  it('sends each follower the coding it accepts, from one run of the handler', async () => {
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
    const leader = made.request({ 'Accept-Encoding': 'identity' });
    await waitFor(() => made.runs() === 1);
    const followers = codings.map(([accept]) => made.request({ 'Accept-Encoding': accept }));
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
