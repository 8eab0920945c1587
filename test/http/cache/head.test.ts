import type { Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';

const MODIFIED = 'Sat, 01 Nov 2025 00:00:00 GMT';

describe.each(majors)('a HEAD request to the handler, RFC 9111 §4.3.5 (%s)', (_name, express) => {
  type Headers = Record<string, string>;

  /** `/x` with a stored, stale response to a GET; `head` is the handler's response to a HEAD. */
  async function stale(
    get: Headers,
    head: (res: Response, req: Request) => unknown,
    cache: StandaloneCacheOptions = {},
  ) {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h', tags: ['x'] } }, ...cache },
      routes: (app, { count }) => {
        app.head('/x', (req, res) => {
          count('HEAD');
          head(res, req);
        });
        app.get('/x', (_req, res) => res.set(get).end(`run ${count('GET')}`));
      },
    });
    expect((await made.get('/x')).text).toBe('run 1');
    await made.cache.expire({ all: true });
    return made;
  }
  const head = (made: Pick<CacheApp, 'get'>, headers = {}) => made.get('/x', headers, { method: 'HEAD' });

  it.each<[string, Headers]>([
    ['ETag', { ETag: '"v1"' }],
    ['Last-Modified', { 'Last-Modified': MODIFIED }],
    ['both, and Content-Length', { ETag: '"v1"', 'Last-Modified': MODIFIED, 'Content-Length': '5' }],
  ])('refreshes a stored response and its header fields when %s matches', async (_what, validators) => {
    const made = await stale({ ...validators, 'X-Old': '1', 'X-Both': '1' }, (res) =>
      res.set({ ...validators, 'X-Both': '2' }).end(),
    );
    const answer = await head(made);
    expect([answer.xCache, answer.cacheStatus]).toEqual([
      'REVALIDATED',
      'hotpath; fwd=stale; stored; ttl=3600',
    ]);
    // The same as for a GET.
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'x-old': '1',
      'x-both': '2',
      'content-length': '5',
    });
    const got = await made.get('/x');
    expect(got).toMatchObject({ text: 'run 1', xCache: 'HIT' });
    expect(Object.fromEntries(got.headers)).toMatchObject({ 'x-old': '1', 'x-both': '2' });
    expect([made.runs('GET'), made.runs('HEAD')]).toEqual([1, 1]);
  });

  it('takes the lifetime from the HEAD response', async () => {
    const made = await stale({ ETag: '"v1"' }, (res) =>
      res.set({ ETag: '"v1"', 'Cache-Control': 'public, max-age=77' }).end(),
    );
    expect((await head(made)).cacheStatus).toContain('ttl=77');
    expect((await made.get('/x')).cacheStatus).toMatch(/hit; ttl=7\d/);
  });

  it.each<[string, Headers, Headers]>([
    ['another ETag', { ETag: '"v1"' }, { ETag: '"v2"' }],
    ['an ETag where there was none', {}, { ETag: '"v1"' }],
    [
      'another Last-Modified',
      { 'Last-Modified': MODIFIED },
      { 'Last-Modified': 'Sun, 02 Nov 2025 00:00:00 GMT' },
    ],
    ['the ETag, and another length', { ETag: '"v1"' }, { ETag: '"v1"', 'Content-Length': '6' }],
  ])('refreshes nothing with %s', async (_what, get, different) => {
    const made = await stale(get, (res) => res.set(different).end());
    expect(await head(made)).toMatchObject({
      status: 200,
      xCache: 'MISS',
      cacheStatus: 'hotpath; fwd=stale; detail=head',
    });
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('makes a fresh response stale when it differs and the client may bypass it', async () => {
    const made = await stale({ ETag: '"v1"' }, (res) => res.set('ETag', '"v2"').end(), {
      requestDirectives: 'honor',
    });
    expect((await made.get('/x')).text).toBe('run 2');
    expect((await made.get('/x')).xCache).toBe('HIT');
    expect((await head(made, { 'cache-control': 'no-cache' })).cacheStatus).toContain('fwd=request');
    expect((await made.get('/x')).text).toBe('run 3');
  });

  it.each<[string, (res: Response) => unknown]>([
    ['sets a cookie', (res) => res.cookie('a', '1').end()],
    ['is private', (res) => res.set('Cache-Control', 'private').end()],
    ['is no-store', (res) => res.set('Cache-Control', 'no-store').end()],
    ['is a 404', (res) => res.status(404).end()],
    ['is a 304', (res) => res.status(304).end()],
    ['is a 500', (res) => res.status(500).end()],
  ])('refreshes nothing when its response %s', async (_what, answer) => {
    const made = await stale({ ETag: '"v1"' }, (res) => answer(res.set('ETag', '"v1"')));
    expect((await head(made)).xCache).toBe('MISS');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('refreshes no public entry when it has credentials', async () => {
    const made = await stale({ ETag: '"v1"' }, (res) => res.set('ETag', '"v1"').end());
    expect((await head(made, { cookie: 'session=1' })).xCache).toBe('MISS');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('needs a validator in the safe profile, but not in profile rfc9111', async () => {
    const safe = await stale({}, (res) => res.end());
    expect((await head(safe)).xCache).toBe('MISS');
    expect((await safe.get('/x')).text).toBe('run 2');
    const open = await stale({}, (res) => res.set('Cache-Control', 'max-age=1000').end(), {
      profile: 'rfc9111',
    });
    expect((await head(open)).xCache).toBe('REVALIDATED');
    expect(await open.get('/x')).toMatchObject({ text: 'run 1', xCache: 'HIT' });
  });

  it('does not undo a purge that happens while its handler runs [H07]', async () => {
    let release = () => {};
    const made = await stale({ ETag: '"v1"' }, (res) => {
      release = () => res.set('ETag', '"v1"').end();
    });
    const pending = head(made);
    await waitFor(() => made.runs('HEAD') === 1);
    await made.cache.purge({ tag: 'x' });
    release();
    await pending;
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([
    ['agrees with', '"v1"'],
    ['differs from', '"v0"'],
  ])('keeps a newer response, stored while its handler ran, that %s the older', async (_what, etag) => {
    let release = () => {};
    let version = 1;
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } }, requestDirectives: 'honor' },
      routes: (app, { count }) => {
        app.head('/x', (_req, res) => {
          count('HEAD');
          release = () => res.set('ETag', etag).end();
        });
        app.get('/x', (_req, res) => res.set('ETag', `"v${version}"`).end(`run ${count()}`));
      },
    });
    await made.get('/x');
    const pending = made.get('/x', { 'cache-control': 'no-cache' }, { method: 'HEAD' });
    await waitFor(() => made.runs('HEAD') === 1);
    version = 2;
    expect((await made.get('/x', { 'cache-control': 'no-cache' })).text).toBe('run 2');
    release();
    await pending;
    expect(await made.get('/x')).toMatchObject({ text: 'run 2', xCache: 'HIT' });
  });

  it('stores nothing without a stored response', async () => {
    const made = await stale({ ETag: '"v1"' }, (res) => res.set('ETag', '"v1"').end());
    await made.cache.purge({ all: true });
    expect((await head(made)).cacheStatus).toBe('hotpath; fwd=miss; detail=head');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('works with the common GET and HEAD handler of Express', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.send('same');
        }),
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x', {}, { method: 'HEAD' })).xCache).toBe('REVALIDATED');
    expect(await made.get('/x')).toMatchObject({ text: 'same', xCache: 'HIT' });
    expect(made.runs()).toBe(2);
  });
});
