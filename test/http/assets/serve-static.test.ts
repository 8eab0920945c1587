import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type StaticAssetsOptions, staticAssets } from 'hotpath/assets';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { express4, express5, type Listening, listen, partOn4, raw } from '../../helpers/http.js';

const FILES: Readonly<Record<string, string>> = {
  'todo.txt': '- groceries',
  'nums.txt': '123456789',
  'empty.txt': '',
  'foo bar': 'baz',
  '.hidden': 'secret',
  '.folder/file.txt': 'secret',
  'name.d/name.txt': 'tobi',
  'page.html': '<p>page</p>',
  'crunchy/oats.html': 'oats',
  'crunchy.html': 'crunchy',
  'users/index.html': '<p>tobi, loki, jane</p>',
  'users/tobi.txt': 'ferret',
  'pets/names.txt': 'tobi,loki',
  'snow ☃/index.html': '<p>snow</p>',
  'unknown.surprise': 'x',
  'index.htm/file.txt': 'a folder with the name of an index',
};
const MODIFIED = new Date('2026-01-02T03:04:05Z');

let root: string;
beforeAll(() => {
  const scratch = mkdtempSync(join(tmpdir(), 'hotpath-assets-'));
  root = join(scratch, 'public');
  for (const [name, content] of Object.entries(FILES)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
    utimesSync(join(root, name), MODIFIED, MODIFIED);
  }
  writeFileSync(join(scratch, 'outside.txt'), 'outside');
  writeFileSync(join(scratch, 'public-too.txt'), 'outside');
  symlinkSync(join(scratch, 'outside.txt'), join(root, 'link.txt'));
  symlinkSync(join(root, 'users'), join(root, 'people'));
});
afterAll(() => rmSync(dirname(root), { recursive: true, force: true }));

/** A request: its target, its status, and what differs from a plain GET by default. */
interface Fact {
  readonly target: string;
  readonly status: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly options?: Omit<StaticAssetsOptions, 'maxAge' | 'immutable'>;
}

const ETAG = `W/"b-${MODIFIED.getTime().toString(16)}"`;
const LAST_MODIFIED = MODIFIED.toUTCString();
const fails = { fallthrough: false };

/** The cases of the test suites of `serve-static` 2.2 and `send` 1.2 that a request can show. 404 without a body: next(). */
const FACTS: readonly Fact[] = [
  // Files, and their names.
  { target: '/todo.txt', status: 200 },
  { target: '/todo.txt?version=2', status: 200 },
  { target: '/users/tobi.txt', status: 200 },
  { target: '/name.d/name.txt', status: 200 },
  { target: '/foo%20bar', status: 200 },
  { target: '/empty.txt', status: 200 },
  { target: '/unknown.surprise', status: 200 },
  { target: '/users/../todo.txt', status: 200 },
  { target: '//todo.txt', status: 200 },
  { target: '/link.txt', status: 200 },
  { target: '/people/tobi.txt', status: 200 },
  { target: '/missing', status: 404 },
  { target: '/missing', status: 404, options: fails },
  { target: '/todo.txt/', status: 404 },
  { target: '/todo.txt/a.php', status: 404 },
  { target: `/${'foobar'.repeat(100)}`, status: 404 },
  { target: `/${'foobar'.repeat(100)}`, status: 404, options: fails },
  { target: '/todo.txt', status: 200, method: 'HEAD' },
  { target: '/missing', status: 404, method: 'HEAD' },
  // Other methods.
  { target: '/todo.txt', status: 404, method: 'POST' },
  { target: '/todo.txt', status: 404, method: 'OPTIONS' },
  { target: '/todo.txt', status: 405, method: 'OPTIONS', options: fails },
  { target: '/todo.txt', status: 405, method: 'DELETE', options: fails },
  // Malformed targets, and those that lead out of the root.
  ...['/%', '/%c0%ae', '/todo%00.txt', '/..%00/todo.txt'].flatMap((target) => [
    { target, status: 404 },
    { target, status: 400, options: fails },
  ]),
  ...[
    '/../outside.txt',
    '/users/../../outside.txt',
    '/users/%2e%2e/%2e%2e/outside.txt',
    '/%2e%2e%2foutside.txt',
    '/..%2foutside.txt',
    '/users/..%2f..%2foutside.txt',
    '/../public-too.txt',
    '/../public/todo.txt',
  ].flatMap((target) => [
    { target, status: 404 },
    { target, status: 403, options: fails },
  ]),
  // A backslash separates folders on Windows only; a double encoding is decoded once.
  { target: '/..\\outside.txt', status: 404 },
  { target: '/..%5coutside.txt', status: 404 },
  { target: '/users\\..\\..\\outside.txt', status: 404 },
  { target: '/%252e%252e/outside.txt', status: 404 },
  { target: '/..%c0%afoutside.txt', status: 404 },
  { target: '/....//outside.txt', status: 404 },
  // Dotfiles.
  { target: '/.hidden', status: 404 },
  { target: '/%2ehidden', status: 404 },
  { target: '/.folder/file.txt', status: 404 },
  { target: '/.hidden', status: 404, options: { dotfiles: 'deny' } },
  { target: '/.hidden', status: 403, options: { dotfiles: 'deny', ...fails } },
  { target: '/.folder', status: 403, options: { dotfiles: 'deny', ...fails } },
  { target: '/.folder/', status: 403, options: { dotfiles: 'deny', ...fails } },
  { target: '/.missing', status: 403, options: { dotfiles: 'deny', ...fails } },
  { target: '/.hidden', status: 200, options: { dotfiles: 'allow' } },
  { target: '/.folder/file.txt', status: 200, options: { dotfiles: 'allow' } },
  { target: '/.missing', status: 404, options: { dotfiles: 'allow' } },
  // Folders.
  { target: '/users/', status: 200 },
  { target: '/people/', status: 200 },
  { target: '/users', status: 301 },
  { target: '/users?name=john', status: 301 },
  { target: '//users', status: 301 },
  { target: '/snow%20%E2%98%83', status: 301 },
  { target: '/pets/', status: 404 },
  { target: '/pets/', status: 404, options: fails },
  { target: '/', status: 404 },
  { target: '/users', status: 404, options: { redirect: false } },
  { target: '/users', status: 404, options: { redirect: false, ...fails } },
  { target: '/users/', status: 404, options: { index: false } },
  { target: '/users', status: 301, options: { index: false } },
  { target: '/users/', status: 200, options: { index: 'tobi.txt' } },
  { target: '/users/', status: 200, options: { index: ['default.htm', 'index.html'] } },
  { target: '/', status: 404, options: { index: ['index.htm'] } },
  // Extensions.
  { target: '/todo', status: 404 },
  { target: '/todo', status: 200, options: { extensions: ['txt'] } },
  { target: '/todo', status: 200, options: { extensions: ['htm', 'html', 'txt'] } },
  { target: '/missing', status: 404, options: { extensions: ['htm', 'html', 'txt'] } },
  { target: '/crunchy', status: 301, options: { extensions: ['html'] } },
  { target: '/crunchy.txt', status: 404, options: { extensions: ['html'] } },
  { target: '/index', status: 404, options: { extensions: ['htm'] } },
  // Ranges.
  ...['0-4', '0-0', '2-5', '-3', '3-', '2-50', '2-3', '0-3,2-5'].map((range) => ({
    target: '/nums.txt',
    status: 206,
    headers: { Range: `bytes=${range}` },
  })),
  { target: '/nums.txt', status: 206, method: 'HEAD', headers: { Range: 'bytes=0-4' } },
  { target: '/nums.txt', status: 416, headers: { Range: 'bytes=9-50' } },
  { target: '/nums.txt', status: 416, headers: { Range: 'bytes=9-50' }, options: fails },
  { target: '/nums.txt', status: 200, headers: { Range: 'asdf' } },
  { target: '/nums.txt', status: 200, headers: { Range: 'items=0-3' } },
  { target: '/nums.txt', status: 200, headers: { Range: 'bytes=1-1,3-4' } },
  { target: '/nums.txt', status: 200, headers: { Range: 'bytes=0-3' }, options: { acceptRanges: false } },
  { target: '/todo.txt', status: 206, headers: { Range: 'bytes=0-4', 'If-Range': ETAG } },
  { target: '/todo.txt', status: 200, headers: { Range: 'bytes=0-4', 'If-Range': ETAG.replace('b-', 'c-') } },
  { target: '/todo.txt', status: 206, headers: { Range: 'bytes=0-4', 'If-Range': LAST_MODIFIED } },
  {
    target: '/todo.txt',
    status: 200,
    headers: { Range: 'bytes=0-4', 'If-Range': new Date(MODIFIED.getTime() - 20_000).toUTCString() },
  },
  { target: '/todo.txt', status: 200, headers: { Range: 'bytes=0-4', 'If-Range': 'foo' } },
  // Conditions.
  { target: '/todo.txt', status: 304, headers: { 'If-None-Match': ETAG } },
  { target: '/todo.txt', status: 304, method: 'HEAD', headers: { 'If-None-Match': ETAG } },
  { target: '/todo.txt', status: 304, headers: { 'If-None-Match': '*' } },
  { target: '/todo.txt', status: 304, headers: { 'If-None-Match': `"a,b", ${ETAG.slice(2)}` } },
  { target: '/todo.txt', status: 200, headers: { 'If-None-Match': '"123"' } },
  { target: '/todo.txt', status: 200, headers: { 'If-None-Match': ETAG, 'Cache-Control': 'no-cache' } },
  { target: '/todo.txt', status: 304, headers: { 'If-Modified-Since': LAST_MODIFIED } },
  { target: '/todo.txt', status: 200, headers: { 'If-Modified-Since': new Date(0).toUTCString() } },
  {
    target: '/todo.txt',
    status: 200,
    headers: { 'If-Modified-Since': LAST_MODIFIED, 'If-None-Match': '"123"' },
  },
  { target: '/todo.txt', status: 200, headers: { 'If-Match': '*' } },
  { target: '/todo.txt', status: 200, headers: { 'If-Match': `"foo", ${ETAG}` } },
  { target: '/todo.txt', status: 412, headers: { 'If-Match': '"foo", "bar"' } },
  { target: '/todo.txt', status: 200, headers: { 'If-Unmodified-Since': LAST_MODIFIED } },
  { target: '/todo.txt', status: 412, headers: { 'If-Unmodified-Since': new Date(0).toUTCString() } },
  { target: '/todo.txt', status: 200, headers: { 'If-Unmodified-Since': 'foo' } },
  // Headers that can be turned off.
  { target: '/todo.txt', status: 200, options: { cacheControl: false } },
  { target: '/todo.txt', status: 200, options: { etag: false } },
  { target: '/todo.txt', status: 200, options: { lastModified: false } },
  { target: '/todo.txt', status: 200, options: { acceptRanges: false } },
];

function nameOf({ method = 'GET', target, headers, options, status }: Fact): string {
  const details = [headers, options].flatMap((each) => (each ? [JSON.stringify(each)] : []));
  return [method, target.slice(0, 60), ...details, status].join(' ');
}

type Make = (root: string, options?: object) => express5.Handler;

describe.each([
  ['Express 5', express5],
  ['Express 4', express4],
] as const)('files without variants, on %s', (major, express) => {
  const servers = new Map<string, Promise<Listening>>();
  afterAll(async () => {
    for (const server of servers.values()) await (await server).close();
  });

  /** One server for each set of options, at the root and below a mount. */
  function serve(make: Make, options: object | undefined): Promise<Listening> {
    const key = `${make === staticAssets} ${JSON.stringify(options)}`;
    if (!servers.has(key)) {
      const app = express();
      app.disable('x-powered-by');
      app.set('env', 'test');
      app.use('/mount', make(root, options));
      app.use(make(root, options));
      app.use((_req, res) => void res.status(404).end('next'));
      app.use(((error, _req, res, _next) => {
        // The fields of the file's own representation do not belong to its error, though serve-static leaves them.
        for (const name of ['Cache-Control', 'ETag', 'Last-Modified', 'Content-Type']) res.removeHeader(name);
        res.status(error.status).end(String(error.status));
      }) as express5.ErrorRequestHandler);
      servers.set(key, listen(app));
    }
    return servers.get(key)!;
  }

  async function answerOf(make: Make, { method = 'GET', target, headers, options }: Fact) {
    const { port } = await serve(make, options);
    const lines = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
    const text = `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines.join('')}\r\n`;
    const { status, body, headers: all } = await raw(port, text);
    const kept = all.filter(([name]) => !['date', 'connection'].includes(name.toLowerCase())).sort();
    return { status, body: body.toString(), headers: kept };
  }

  it.each(
    FACTS.flatMap((fact) => [...partOn4(major, [fact], []), { ...fact, target: `/mount${fact.target}` }]).map(
      (fact) => [nameOf(fact), fact] as const,
    ),
  )('responds as serve-static: %s', async (_name, fact) => {
    const ours = await answerOf(staticAssets as Make, fact);
    expect(ours.status).toBe(fact.status);
    expect(ours).toEqual(await answerOf(express5.static as Make, fact));
    if (fact.options?.dotfiles !== 'allow') expect(ours.body).not.toContain('secret');
    if (!fact.target.includes('link')) expect(ours.body).not.toContain('outside');
  });

  it('redirects the mount itself to its final slash', async () => {
    for (const make of [staticAssets, express5.static] as Make[]) {
      const { status, headers } = await answerOf(make, { target: '/mount?a=b', status: 301 });
      expect(status).toBe(301);
      expect(headers).toContainEqual(['Location', '/mount/?a=b']);
    }
  });
});

describe('as a listener of node:http, without Express', () => {
  it.each([
    ['GET', '/todo.txt', 200, '- groceries'],
    ['GET', '/users/', 200, '<p>tobi, loki, jane</p>'],
    ['GET', '/missing', 404, ''],
    ['GET', '/../outside.txt', 404, ''],
    ['POST', '/todo.txt', 404, ''],
    ['GET', 'http://a/todo.txt', 200, '- groceries'],
  ])('responds to %s %s with %d', async (method, target, status, text) => {
    const server = await listen(staticAssets(root));
    const got = await raw(
      server.port,
      `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect({ status: got.status, text: got.text }).toEqual({ status, text });
    await server.close();
  });

  it('serves a file as the root, as serve-static does', async () => {
    const serveFile = staticAssets(join(root, 'todo.txt'));
    const server = await listen((req: IncomingMessage, res: ServerResponse) => {
      Object.assign(req, { originalUrl: req.url, url: '/' });
      serveFile(req, res);
    });
    expect((await raw(server.port, 'GET /todo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).text).toBe(
      '- groceries',
    );
    await server.close();
  });
});

describe('the redirect of a folder', () => {
  it('stays on the site for targets that browsers read as another origin', async () => {
    const server = await listen(staticAssets(root));
    for (const target of [
      '//other.example/..',
      '/\\other.example/..',
      '/\\/other.example/../..',
      '///other.example/..',
    ]) {
      const got = await raw(server.port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect(got.status, target).toBe(301);
      expect(new URL(got.header('Location')!, 'http://site.example/').host, target).toBe('site.example');
    }
    await server.close();
  });
});

describe('wrong options', () => {
  it.each([
    [undefined, undefined, /staticAssets root: expected the path of a folder, received undefined/],
    ['', undefined, /expected the path of a folder/],
    ['a\0b', undefined, /expected the path of a folder/],
    ['.', { maxage: 1 }, /unknown option; did you mean 'maxAge'\?/],
    ['.', { maxAge: '2 hours' }, /staticAssets\.maxAge/],
    ['.', { index: [''] }, /the name of a file such as 'index\.html'/],
    ['.', { extensions: [1] }, /staticAssets\.extensions: expected an extension such as 'html'/],
    ['.', { setHeaders: true }, /staticAssets\.setHeaders: expected a function/],
    ['.', { variants: ['deflate'] }, /'br' or 'zstd' or 'gzip'/],
    ['.', { immutable: 'yes' }, /true, false, a regular expression/],
    ['.', { preload: ['app.css'] }, /expected a path such as '\/app\.css'/],
    ['.', { preload: ['/app.bin'] }, /the extension of a script/],
    ['.', { manifest: 'missing.json' }, /staticAssets\.manifest: expected a manifest of Vite/],
  ])('fail at the start: %s %j', (path, options, message) => {
    expect(() => staticAssets(path as string, options as StaticAssetsOptions)).toThrow(message);
  });
});
