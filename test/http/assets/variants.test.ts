import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { hotpath } from 'hotpath';
import { type StaticAssetsOptions, staticAssets } from 'hotpath/assets';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Ask, ask, type Got } from '../../helpers/client.js';
import { type Listening, listen, majors, raw } from '../../helpers/http.js';

const TEXT = 'export const answer = 42; // text that is long enough to be compressed\n'.repeat(40);
const BROTLI = brotliCompressSync(TEXT);
const GZIP = gzipSync(TEXT);
/** No decoder is needed: the bytes are compared. */
const ZSTD = Buffer.from('zstd');
const HOUR_AGO = new Date(Date.now() - 3_600_000);

let root: string;
const write = (name: string, content: string | Buffer, time = HOUR_AGO) => {
  writeFileSync(join(root, name), content);
  utimesSync(join(root, name), time, time);
};

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'hotpath-variants-'));
  mkdirSync(join(root, 'assets'));
  for (const name of ['app.js', 'assets/app-KZ4XJ5QA.js']) {
    write(name, TEXT);
    write(`${name}.br`, BROTLI);
    write(`${name}.gz`, GZIP);
    write(`${name}.zst`, ZSTD);
  }
  write('brotli.js', TEXT);
  write('brotli.js.br', BROTLI);
  write('plain.js', TEXT);
  write('archive.tar.gz', GZIP);
  write('index.html', `<!doctype html><script type="module" src="/app.js"></script>${TEXT}`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const open: Listening[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const server of open.splice(0)) await server.close();
});

describe.each(majors)('precompressed variants on %s', (_major, express) => {
  async function serve(options?: StaticAssetsOptions, front?: ReturnType<typeof hotpath>) {
    const app = express();
    if (front) app.use(front);
    app.use(staticAssets(root, options));
    app.use((_req, res) => void res.status(404).send('next'));
    const server = await listen(app);
    open.push(server);
    front?.attach(app);
    return (path: string, headers: Ask['headers'] = {}, method = 'GET') =>
      ask(server.port, { path, headers, method });
  }
  /** A part cannot be decoded, so it is read from the socket. */
  async function partOf(path: string, headers: Readonly<Record<string, string>>) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const got = await raw(
      open.at(-1)!.port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines.join('')}\r\n`,
    );
    return { status: got.status, body: got.body, header: (name: string) => got.header(name) };
  }
  const codingOf = (got: Pick<Got, 'header'>) => got.header('content-encoding') ?? 'identity';

  it.each([
    ['br', 'br'],
    ['gzip', 'gzip'],
    ['zstd', 'zstd'],
    ['x-gzip', 'gzip'],
    ['gzip, deflate, br', 'br'],
    ['br;q=0.1, gzip;q=1', 'gzip'], // express-static-gzip sends br
    ['br;q=0', 'identity'], // sirv sends br
    ['br;q=0, gzip', 'gzip'],
    ['br;q=0.5, *;q=0.4', 'br'],
    ['*', 'zstd'], // the smallest
    ['identity, br;q=0.5', 'identity'],
    ['*;q=0', 'identity'],
    ['deflate', 'identity'],
    ['brotli', 'identity'],
    ['', 'identity'],
    [undefined, 'identity'],
  ])('negotiates: for Accept-Encoding %j it sends %s', async (accepted, coding) => {
    const get = await serve();
    const got = await get('/app.js', accepted === undefined ? {} : { 'Accept-Encoding': accepted });
    expect(got.status).toBe(200);
    expect(codingOf(got)).toBe(coding);
    const bytes: Record<string, Buffer> = { br: BROTLI, gzip: GZIP, zstd: ZSTD, identity: Buffer.from(TEXT) };
    expect(got.coded.equals(bytes[coding]!)).toBe(true);
    expect(got.header('vary')).toBe('Accept-Encoding');
    expect(got.header('content-type')).toBe('text/javascript; charset=utf-8');
    expect(got.header('content-length')).toBe(String(bytes[coding]!.length));
  });

  it('sends no Vary where there is no variant', async () => {
    const get = await serve();
    const got = await get('/plain.js', { 'Accept-Encoding': 'br' });
    expect([codingOf(got), got.header('vary')]).toEqual(['identity', undefined]);
  });

  it('keeps the Vary of the app', async () => {
    const app = express();
    app.use((_req, res, next) => void next(res.set('Vary', 'Origin') && undefined));
    app.use(staticAssets(root));
    const server = await listen(app);
    open.push(server);
    const got = await ask(server.port, { path: '/app.js', headers: { 'Accept-Encoding': 'br' } });
    expect(got.header('vary')).toBe('Origin, Accept-Encoding');
  });

  it('gives each variant a tag of its own, which alone gets a 304', async () => {
    const get = await serve();
    const codings = ['br', 'gzip', 'zstd', 'identity'];
    const tags = await Promise.all(
      codings.map(async (coding) => (await get('/app.js', { 'Accept-Encoding': coding })).header('etag')!),
    );
    expect(new Set(tags).size).toBe(4);
    for (const [at, coding] of codings.entries()) {
      for (const [other, tag] of tags.entries()) {
        const got = await get('/app.js', { 'Accept-Encoding': coding, 'If-None-Match': tag });
        expect(got.status, `${coding} with the tag of ${codings[other]}`).toBe(at === other ? 304 : 200);
        expect(got.header('etag')).toBe(tags[at]);
        expect(got.header('vary')).toBe('Accept-Encoding');
      }
    }
    const since = { 'Accept-Encoding': 'br', 'If-Modified-Since': HOUR_AGO.toUTCString() };
    const unmodified = await get('/app.js', since);
    expect([unmodified.status, unmodified.header('content-encoding')]).toEqual([304, undefined]);
  });

  it('sends ranges of the variant, for the tag of that variant only', async () => {
    const get = await serve();
    const br = { 'Accept-Encoding': 'br', Range: 'bytes=4-9' };
    const part = await partOf('/app.js', br);
    expect([part.status, codingOf(part)]).toEqual([206, 'br']);
    expect(part.header('content-range')).toBe(`bytes 4-9/${BROTLI.length}`);
    expect(part.body.equals(BROTLI.subarray(4, 10))).toBe(true);
    const tagOf = async (coding: string) =>
      (await get('/app.js', { 'Accept-Encoding': coding })).header('etag')!;
    expect((await partOf('/app.js', { ...br, 'If-Range': await tagOf('br') })).status).toBe(206);
    for (const coding of ['gzip', 'identity']) {
      expect((await partOf('/app.js', { ...br, 'If-Range': await tagOf(coding) })).status, coding).toBe(200);
    }
  });

  it('sends the whole file for a suffix that is longer, and leaves the request as it was', async () => {
    const seen: unknown[] = [];
    const get = await serve({
      setHeaders: (res) => res.on('finish', () => seen.push(res.req.headers.range)),
    });
    for (const [coding, size] of [
      ['br', BROTLI.length],
      ['identity', (await get('/app.js', { 'Accept-Encoding': 'identity' })).body.length],
    ] as const) {
      const Range = `bytes=-${size + 1}`;
      const got = await get('/app.js', { 'Accept-Encoding': coding, Range });
      expect([got.status, got.header('content-range')]).toEqual([206, `bytes 0-${size - 1}/${size}`]);
      expect(got.header('content-length')).toBe(String(size));
      expect(seen.at(-1)).toBe(Range);
    }
    expect((await get('/app.js', { Range: 'bytes=-0' })).status).toBe(416);
  });

  it('sends no range for a date, which all variants have in common', async () => {
    const get = await serve();
    const range = { Range: 'bytes=4-9', 'If-Range': HOUR_AGO.toUTCString() };
    for (const coding of ['br', 'identity']) {
      expect((await get('/app.js', { 'Accept-Encoding': coding, ...range })).status).toBe(200);
    }
    expect((await get('/plain.js', range)).status).toBe(206);
  });

  it('responds to HEAD as to GET, without the body', async () => {
    const get = await serve();
    const accepted = { 'Accept-Encoding': 'br' };
    const [head, whole] = [await get('/app.js', accepted, 'HEAD'), await get('/app.js', accepted)];
    const fields = (got: Got) => got.headers.filter(([name]) => name !== 'Date');
    expect(fields(head)).toEqual(fields(whole));
    expect(head.coded.length).toBe(0);
  });

  it('has no URL for a variant, but for a file that only looks like one', async () => {
    const get = await serve();
    for (const name of [
      'app.js.br',
      'app.js.gz',
      'app.js.zst',
      'app.js.BR',
      'app.js%2ebr',
      'assets/../app.js.gz',
    ]) {
      const got = await get(`/${name}`);
      expect([got.status, got.body.toString()], name).toEqual([404, 'next']);
    }
    const archive = await get('/archive.tar.gz', { 'Accept-Encoding': 'gzip' });
    expect([archive.status, codingOf(archive)]).toEqual([200, 'identity']);
    expect(archive.header('content-type')).toBe('application/gzip');
    expect(archive.coded.equals(GZIP)).toBe(true);
  });

  it('treats variants as ordinary files with variants: false, and only the named ones otherwise', async () => {
    const ordinary = await serve({ variants: false });
    expect((await ordinary('/app.js.br')).status).toBe(200);
    expect(codingOf(await ordinary('/app.js', { 'Accept-Encoding': 'br' }))).toBe('identity');
    const gzip = await serve({ variants: ['gzip'] });
    expect(codingOf(await gzip('/app.js', { 'Accept-Encoding': 'br, gzip' }))).toBe('gzip');
    expect((await gzip('/app.js.br')).status).toBe(200);
    expect((await gzip('/app.js.gz')).status).toBe(404);
  });

  it('serves no variant that is older than its source, nor one that is empty or a folder', async () => {
    write('changed.js', TEXT);
    write('changed.js.zst', '');
    write('changed.js.br', BROTLI, new Date(HOUR_AGO.getTime() - 5));
    mkdirSync(join(root, 'changed.js.gz'), { recursive: true });
    const get = await serve();
    const stale = await get('/changed.js', { 'Accept-Encoding': 'br, gzip, zstd' });
    expect([codingOf(stale), stale.header('vary')]).toEqual(['identity', undefined]);
    write('changed.js.br', BROTLI, HOUR_AGO);
    expect(codingOf(await get('/changed.js', { 'Accept-Encoding': 'br' }))).toBe('br');
    expect((await get('/changed.js.br')).status).toBe(404);
  });

  it('keeps hashed names for a year, and revalidates all others', async () => {
    const year = 'public, max-age=31536000, immutable';
    const cacheControlOf = async (path: string, options?: StaticAssetsOptions) =>
      (await (await serve(options))(path, { 'Accept-Encoding': 'br' })).header('cache-control');
    expect(await cacheControlOf('/assets/app-KZ4XJ5QA.js')).toBe(year);
    expect(await cacheControlOf('/app.js')).toBe('public, max-age=0');
    expect(await cacheControlOf('/app.js', { maxAge: '1h' })).toBe('public, max-age=3600');
    expect(await cacheControlOf('/assets/app-KZ4XJ5QA.js', { immutable: false })).toBe('public, max-age=0');
    expect(await cacheControlOf('/assets/app-KZ4XJ5QA.js', { cacheControl: false })).toBeUndefined();
    const pattern = { immutable: /^\/app\.js$/g };
    expect(await cacheControlOf('/app.js', pattern)).toBe(year);
    expect(await cacheControlOf('/app.js', pattern)).toBe(year);
    const paths: string[] = [];
    const immutable = (path: string) => paths.push(path) > 0;
    expect(await cacheControlOf('/assets/app-KZ4XJ5QA.js', { immutable })).toBe(year);
    expect(paths).toEqual(['/assets/app-KZ4XJ5QA.js']);
  });

  it('takes no header of a file over to its error', async () => {
    const get = await serve();
    const got = await get('/assets/app-KZ4XJ5QA.js', { 'Accept-Encoding': 'br', Range: 'bytes=90000-' });
    expect(got.status).toBe(416);
    for (const name of ['content-encoding', 'etag', 'last-modified', 'cache-control']) {
      expect(got.header(name), name).toBeUndefined();
    }
    expect(got.header('content-range')).toBe(`bytes */${BROTLI.length}`);
  });

  it('gives setHeaders the file itself, and its tag a coding', async () => {
    const calls: unknown[] = [];
    const get = await serve({
      setHeaders(res, path, stat) {
        calls.push([path, stat.size]);
        res.setHeader('ETag', '"of the app"');
        res.setHeader('Cache-Control', 'no-store');
      },
    });
    const got = await get('/assets/app-KZ4XJ5QA.js', { 'Accept-Encoding': 'br' });
    expect(calls).toEqual([[join(root, 'assets/app-KZ4XJ5QA.js'), TEXT.length]]);
    expect(got.header('etag')).toBe('"of the app-br"');
    expect(got.header('cache-control')).toBe('no-store');
  });

  it('responds although functions of the app throw, and reports them', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const fail = () => {
      throw new Error(`by a test on ${_major}`);
    };
    const get = await serve({ setHeaders: fail, immutable: fail });
    const got = await get('/app.js', { 'Accept-Encoding': 'br' });
    expect([got.status, got.header('cache-control')]).toEqual([200, 'public, max-age=0']);
    expect(warn).toHaveBeenCalledTimes(2);
  });

  it('sends nothing else once the app has responded, and does not end the process', async () => {
    const app = express();
    app.use((_req, res, next) => {
      next();
      res.end('too early');
    });
    app.use(staticAssets(root));
    const server = await listen(app);
    open.push(server);
    expect((await ask(server.port, { path: '/app.js' })).body.toString()).toBe('too early');
    expect((await ask(server.port, { path: '/plain.js' })).body.toString()).toBe('too early');
  });

  describe('behind hotpath()', () => {
    const perfs: ReturnType<typeof hotpath>[] = [];
    afterEach(async () => {
      for (const perf of perfs.splice(0)) await perf.close();
    });
    function behind(config: Parameters<typeof hotpath>[0] = {}) {
      const perf = hotpath({ metrics: { defaultMetrics: false }, ...config });
      perfs.push(perf);
      return perf;
    }

    it('sends variants as they are, and compresses files without one', async () => {
      const get = await serve(undefined, behind());
      const variant = await get('/app.js', { 'Accept-Encoding': 'br' });
      expect(variant.coded.equals(BROTLI)).toBe(true);
      expect(variant.header('etag')).toMatch(/-br"$/);
      const plain = await get('/plain.js', { 'Accept-Encoding': 'gzip' });
      expect([codingOf(plain), plain.body.toString()]).toEqual(['gzip', TEXT]);
      const other = await get('/brotli.js', { 'Accept-Encoding': 'gzip' });
      expect([codingOf(other), other.body.toString()]).toEqual(['gzip', TEXT]);
      for (const [path, coding] of [
        ['/app.js', 'br'],
        ['/plain.js', 'gzip'],
        ['/brotli.js', 'gzip'],
      ] as const) {
        const held = (await get(path, { 'Accept-Encoding': coding })).header('etag')!;
        const again = await get(path, { 'Accept-Encoding': coding, 'If-None-Match': held });
        expect([again.status, again.header('etag')], path).toEqual([304, held]);
      }
    });

    it('stores no file in the response cache, whatever the rule says', async () => {
      const rule = { cache: { ttl: '1h', shared: true } } as const;
      const perf = behind({ routes: { '/*path': rule } });
      const get = await serve({ maxAge: '1h' }, perf);
      for (const path of ['/app.js', '/assets/app-KZ4XJ5QA.js', '/plain.js', '/assets']) {
        for (let round = 0; round < 3; round++) {
          const got = await get(path, { 'Accept-Encoding': 'br' });
          expect(got.header('x-cache'), path).not.toBe('HIT');
          expect(got.header('cache-status'), path).toMatch(/detail=static-file|hit-for-miss/);
        }
      }
      expect(perf.cache.stats().entries).toBe(0);
      const part = await partOf('/app.js', { 'Accept-Encoding': 'br', Range: 'bytes=4-9' });
      expect([part.status, part.body.equals(BROTLI.subarray(4, 10))]).toEqual([206, true]);
    });
  });

  describe('preloads', () => {
    const manifest = () => {
      const path = join(root, 'manifest.json');
      const chunks = {
        'index.html': {
          file: 'assets/index-abcdefgh.js',
          isEntry: true,
          css: ['assets/index-settings.css'],
          imports: ['_shared.js'],
        },
        '_shared.js': { file: 'assets/shared-settings.js', imports: ['index.html'] },
        'src/embed.ts': { file: 'embed.js', isEntry: true },
        'src/lazy.ts': { file: 'lazy.js', isDynamicEntry: true },
      };
      write('manifest.json', JSON.stringify(chunks));
      return path;
    };
    const OWN = [
      '</assets/index-settings.css>; rel=preload; as=style; crossorigin',
      '</assets/index-abcdefgh.js>; rel=modulepreload',
      '</assets/shared-settings.js>; rel=modulepreload',
    ];

    it('are sent with pages only: the named resources, and what the manifest lists for the page', async () => {
      write('other.html', '<p>other</p>');
      const get = await serve({ preload: ['/fonts/inter.woff2', '/app.css?v=2'], manifest: manifest() });
      const named = [
        '</fonts/inter.woff2>; rel=preload; as=font; crossorigin',
        '</app.css?v=2>; rel=preload; as=style',
      ];
      expect((await get('/')).header('link')).toBe([...named, ...OWN].join(', '));
      expect((await get('/other.html')).header('link')).toBe(
        [...named, '</embed.js>; rel=modulepreload'].join(', '),
      );
      expect((await get('/app.js')).header('link')).toBeUndefined();
    });

    it('stand below the mount, and after the links of the app', async () => {
      const app = express();
      app.use((_req, res, next) => void next(res.set('Link', '</help>; rel=help') && undefined));
      app.use('/shop', staticAssets(root, { manifest: manifest() }));
      const server = await listen(app);
      open.push(server);
      const got = await ask(server.port, { path: '/shop/' });
      const links = OWN.map((link) => link.replace('</', '</shop/'));
      expect(got.header('link')).toBe(['</help>; rel=help', ...links].join(', '));
    });

    it('make listed files immutable whose names may be hashed', async () => {
      write('assets/index-settings.css', 'p {}');
      write('embed.js', '1');
      const get = await serve({ manifest: manifest() });
      expect((await get('/assets/index-settings.css')).header('cache-control')).toContain('immutable');
      expect((await get('/embed.js')).header('cache-control')).toBe('public, max-age=0');
    });

    it('are sent early to navigations over HTTP/1.1 only, and only if that is turned on', async () => {
      const options = { manifest: manifest(), earlyHints: true };
      const navigate = { 'Sec-Fetch-Mode': 'navigate' };
      const [on, off] = [await serve(options), await serve({ ...options, earlyHints: false })];
      expect((await on('/', navigate)).interim).toEqual([103]);
      expect((await on('/rendered-by-the-app', navigate)).interim).toEqual([103]);
      for (const got of [
        await on('/'),
        await on('/', { 'Sec-Fetch-Mode': 'cors' }),
        await on('/app.js', navigate),
        await on('/', navigate, 'HEAD'),
        await off('/', navigate),
      ]) {
        expect(got.interim).toEqual([]);
      }
      const old = await raw(open[0]!.port, 'GET / HTTP/1.0\r\nSec-Fetch-Mode: navigate\r\n\r\n');
      expect([old.status, old.header('Link') !== undefined]).toEqual([200, true]);
    });
  });
});

describe('a file that becomes shorter while it is sent', () => {
  it('breaks the connection off, so that the client does not wait for the rest', async () => {
    write('shrinking.js', TEXT);
    const serveFile = staticAssets(root, { setHeaders: () => write('shrinking.js', 'short') });
    const server = await listen((req: IncomingMessage, res: ServerResponse) => serveFile(req, res));
    open.push(server);
    expect((await ask(server.port, { path: '/shrinking.js' })).whole).toBe(false);
  });
});

describe('a variant that disappears after it was found', () => {
  async function serveVanishing(name: string, also: readonly string[] = []) {
    const error = vi.fn();
    write(name, TEXT);
    write(`${name}.br`, BROTLI);
    const serveFile = staticAssets(root, {
      preload: ['/app.css'],
      setHeaders: (res) => {
        res.appendHeader('Vary', 'Origin');
        for (const each of [`${name}.br`, ...also]) rmSync(join(root, each), { force: true });
      },
    });
    const server = await listen((req: IncomingMessage, res: ServerResponse) => {
      res.setHeader('Link', '</help>; rel=help');
      serveFile(req, res, (failure) => {
        error((failure as { status?: number }).status);
        res.statusCode = 404;
        res.end('gone');
      });
    });
    open.push(server);
    const get = (headers: Ask['headers'] = {}) =>
      ask(server.port, { path: `/${name}`, headers: { 'Accept-Encoding': 'br', ...headers } });
    return { get, error };
  }

  it('is as good as none: the file itself is sent, with its own headers', async () => {
    const { get, error } = await serveVanishing('vanishing.html');
    const got = await get();
    expect([got.status, got.body.toString(), got.whole]).toEqual([200, TEXT, true]);
    expect(got.header('content-encoding')).toBeUndefined();
    expect(got.header('content-length')).toBe(String(TEXT.length));
    expect(got.header('etag')).toMatch(/^W\/"[^-]+-[^-]+"$/);
    expect(got.header('vary')).toBe('Origin, Accept-Encoding');
    expect(got.header('link')).toBe('</help>; rel=help, </app.css>; rel=preload; as=style');
    expect(error).not.toHaveBeenCalled();
  });

  it('gives no part of the file for the tag of the variant', async () => {
    const { get } = await serveVanishing('vanishing-range.js');
    const tag = `W/"${BROTLI.length.toString(16)}-${HOUR_AGO.getTime().toString(16)}-br"`;
    const got = await get({ Range: 'bytes=4-9', 'If-Range': tag });
    expect([got.status, got.body.toString(), got.header('content-range')]).toEqual([200, TEXT, undefined]);
  });

  it('gives a 404 without the headers of the variant if the file has gone too', async () => {
    const { get, error } = await serveVanishing('vanishing.js', ['vanishing.js']);
    const got = await get();
    expect(error).toHaveBeenCalledWith(404);
    expect([got.status, got.body.toString(), got.header('content-encoding'), got.header('etag')]).toEqual([
      404,
      'gone',
      undefined,
      undefined,
    ]);
  });
});
