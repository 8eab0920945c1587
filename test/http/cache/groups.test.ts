import type { Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import onHeaders from 'on-headers';
import { describe, expect, it } from 'vitest';
import { cacheApp, type Wanted } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';

/** The groups of a page: the parts after `@` in its path. */
const groupsOf = (path: string) =>
  decodeURIComponent(path)
    .split('@')
    .slice(1)
    .map((group) => `"${group}"`)
    .join(', ');

describe.each(majors)('cache groups, RFC 9875 (%s)', (_name, express) => {
  /** Pages that name their groups, and `/write`, whose response invalidates the groups in its query. */
  const shop = (cache?: StandaloneCacheOptions) =>
    cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } }, ...cache },
      routes: (app, { count }) => {
        app.all('/write', (req: Request, res: Response) => {
          const { status = '200', groups = '' } = req.query as Record<string, string>;
          res.set('Cache-Group-Invalidation', groups).status(Number(status)).end('written');
        });
        app.use((req: Request, res: Response) => {
          const groups = groupsOf(req.path);
          if (groups) res.set('Cache-Groups', groups);
          res.end(`run ${count(req.path)}`);
        });
      },
    });
  const write = (
    made: Awaited<ReturnType<typeof shop>>,
    groups: string,
    wanted: Wanted = {},
    status = '200',
  ) => made.get(`/write?${new URLSearchParams({ groups, status })}`, {}, { method: 'POST', ...wanted });

  it('treats groups as tags: a purge by tag removes one group only', async () => {
    const made = await shop();
    for (const path of ['/a@red', '/b@red@blue', '/c@Red', '/d']) await made.get(path);
    await made.cache.purge({ tag: 'red' });
    const texts = await Promise.all(
      ['/a@red', '/b@red@blue', '/c@Red', '/d'].map(async (path) => (await made.get(path)).text),
    );
    expect(texts).toEqual(['run 2', 'run 2', 'run 1', 'run 1']);
    expect((await made.get('/a@red')).headers.get('cache-groups')).toBe('"red"');
  });

  it('purges all groups that a response names before the client reads it', async () => {
    const made = await shop();
    const paths = ['/a@red', '/b@red@blue', '/c@green', '/d'];
    for (const path of paths) await made.get(path);
    expect((await write(made, '"red", "none";x=1')).text).toBe('written');
    const texts = await Promise.all(paths.map(async (path) => (await made.get(path)).text));
    expect(texts).toEqual(['run 2', 'run 2', 'run 1', 'run 1']);
    expect(made.cache.stats().invalidations).toBe(3);
  });

  it.each(['PUT', 'PATCH', 'DELETE'])('purges them for %s too', async (method) => {
    const made = await shop();
    await made.get('/a@red');
    await write(made, '"red"', { method });
    expect((await made.get('/a@red')).text).toBe('run 2');
  });

  it.each(['GET', 'HEAD', 'OPTIONS'])(
    'ignores the field in a response to %s, a safe method [§3]',
    async (method) => {
      const made = await shop();
      await made.get('/a@red');
      await write(made, '"red"', { method });
      expect((await made.get('/a@red')).text).toBe('run 1');
    },
  );

  it.each(['400', '404', '500'])('invalidates nothing for status %s', async (status) => {
    const made = await shop();
    await made.get('/a@red');
    await write(made, '"red"', {}, status);
    expect((await made.get('/a@red')).text).toBe('run 1');
  });

  it.each(['red', '"red', '("red")', '"red", 1'])('ignores a malformed invalidation: %s', async (groups) => {
    const made = await shop();
    await made.get('/a@red');
    await write(made, groups);
    expect((await made.get('/a@red')).text).toBe('run 1');
  });

  it('purges all groups of an invalidation longer than the limit per response', async () => {
    const made = await shop();
    const names = Array.from({ length: 300 }, (_, i) => `group-${i}`);
    for (const name of [names[0], names[299]]) await made.get(`/a@${name}`);
    await write(made, names.map((name) => `"${name}"`).join(', '));
    for (const name of [names[0], names[299]]) expect((await made.get(`/a@${name}`)).text).toBe('run 2');
  });

  it('limits an invalidation to the groups of its own origin [A16, §2.1]', async () => {
    const made = await shop();
    const read = (host: string) => made.raw(`GET /a@red HTTP/1.1\nHost: ${host}\nConnection: close\n`);
    await read('one.example');
    await read('two.example');
    const path = `/write?groups=${encodeURIComponent('"red"')}`;
    await made.raw(`POST ${path} HTTP/1.1\nHost: one.example\nContent-Length: 0\nConnection: close\n`);
    expect(String((await read('two.example')).body)).toBe('run 2');
    expect(String((await read('one.example')).body)).toBe('run 3');
  });

  it.each([false, 'www.example'] as const)(
    'reaches entries that hosts share (vary.host: %s) from each of them',
    async (host) => {
      const made = await shop({
        routes: { '/all/*path': { ttl: '1h', vary: { host } }, '/*path': { ttl: '1h' } },
      });
      const send = async (method: string, path: string, from: string) => {
        const head = `${method} ${path} HTTP/1.1\nHost: ${from}\nContent-Length: 0\nConnection: close\n`;
        return (await made.raw(head)).text;
      };
      const group = `/write?groups=${encodeURIComponent('"red"')}`;
      for (const [run, from] of ['one.example', 'www.example', 'two.example'].entries()) {
        expect(await send('GET', '/all/a@red', 'two.example')).toBe(`run ${run + 1}`);
        await send('POST', group, from);
      }
      expect(await send('GET', '/all/a@red', 'one.example')).toBe('run 4');
      // Entries of one host alone stay with their origin.
      await send('GET', '/b@red', 'www.example');
      await send('POST', group, 'one.example');
      expect(await send('GET', '/b@red', 'www.example')).toBe('run 1');
    },
  );

  it('keeps a group and a tag of the app with the same name apart [§2.1]', async () => {
    const made = await shop({ routes: { '/*path': { ttl: '1h', tags: ['red'] } } });
    await made.get('/d');
    await write(made, '"red"');
    expect((await made.get('/d')).text).toBe('run 1');
    await made.cache.purge({ tag: 'red' });
    expect((await made.get('/d')).text).toBe('run 2');
  });

  it.each([
    ['129 groups', Array.from({ length: 129 }, (_, i) => `g${i}`)],
    ['a group of 257 characters', ['x'.repeat(257)]],
  ])('does not store a response with %s, which could not be invalidated', async (_case, groups) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.use((_req: Request, res: Response) => {
          res.set('Cache-Groups', groups.map((group) => `"${group}"`).join(', ')).end(`run ${count()}`);
        }),
    });
    expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=cache-groups');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('does not store a response whose groups change while its head is written', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } } },
      before: (app) =>
        app.use((_req, res, next) => {
          onHeaders(res, () => res.setHeader('Cache-Groups', '"late"'));
          next();
        }),
      routes: (app, { count }) => app.use((_req: Request, res: Response) => res.end(`run ${count()}`)),
    });
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('moves an entry to the groups of a 304, and keeps its groups without any [§4.3.4]', async () => {
    let groups: string | undefined = '"red"';
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } } },
      routes: (app, { count }) => {
        app.post('/write/:group', (req, res) => {
          res.set('Cache-Group-Invalidation', `"${req.params.group}"`).end();
        });
        app.use((req: Request, res: Response) => {
          res.set('ETag', '"v1"');
          if (groups) res.set('Cache-Groups', groups);
          if (req.headers['if-none-match'] === '"v1"') res.status(304).end();
          else res.end(`run ${count()}`);
        });
      },
    });
    const post = (group: string) => made.get(`/write/${group}`, {}, { method: 'POST' });
    const revalidate = async () => {
      await made.cache.expire({ url: '/x' });
      expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'REVALIDATED' });
    };
    await made.get('/x');
    groups = '"blue"';
    await revalidate();
    await post('red');
    expect((await made.get('/x')).headers.get('cache-groups')).toBe('"blue"');
    groups = undefined;
    await revalidate();
    expect((await made.get('/x')).headers.get('cache-groups')).toBe('"blue"');
    expect(made.runs()).toBe(1);
    await post('blue');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('does not store a fill that began before a write and ends after it [A16]', async () => {
    const { opened: held, open: release } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } } },
      routes: (app, { count, runs }) => {
        app.post('/write', (_req, res) => {
          res.set('Cache-Group-Invalidation', '"red"').end();
        });
        app.use(async (_req: Request, res: Response) => {
          const run = count();
          if (run === 1) await held;
          res.set('Cache-Groups', '"red"').end(`run ${run} of ${runs()}`);
        });
      },
    });
    const slow = made.get('/x');
    await waitFor(() => made.runs() === 1);
    await made.get('/write', {}, { method: 'POST' });
    release();
    await slow;
    expect((await made.get('/x')).text).toBe('run 2 of 2');
  });
});
