import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { hotpath } from 'hotpath';
import { basicAuth, type DashboardOptions, dashboard } from 'hotpath/admin';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, majors, raw } from '../../helpers/http.js';

const later = closeAfterEach();
const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
afterEach(() => vi.unstubAllEnvs());

const MOUNT = '/admin/performance';
const LOGIN = { authorization: `Basic ${Buffer.from('admin:secret').toString('base64')}` };

async function serve(options: Partial<DashboardOptions> = {}, express = express5) {
  const perf = hotpath();
  const app = express();
  app.use(perf);
  const page = dashboard({ perf, ...options });
  app.use(MOUNT, page);
  const server = later(await listen(app));
  later(perf);
  later(page);
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(server.url + MOUNT + path, {
      headers: { 'accept-encoding': 'identity', ...headers },
      redirect: 'manual',
    });
  return { ...server, page, get };
}

const authorize = basicAuth({ users: { admin: 'secret' } });

describe.each(majors)('the dashboard on %s', (_name, express) => {
  it('serves a page that loads files of its own folder alone, under a strict policy', async () => {
    const { get } = await serve({ authorize }, express);
    const moved = await get('?from=a', LOGIN);
    expect([moved.status, moved.headers.get('location')]).toEqual([303, './performance/?from=a']);
    const response = await get('/', LOGIN);
    const html = await response.text();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringMatching(
        /^default-src 'none'; script-src 'self'; style-src 'self';.* frame-ancestors 'none'/,
      ),
    });
    expect(html).not.toMatch(/\sstyle=|<style|<script(?![^>]* src=)|\son\w+=|https?:\/\//);
    const files = [...html.matchAll(/(?:src|href)="(?!#)([^"]*)"/g)].map(([, name = '']) => name);
    expect(files.map((name) => name.replace(/\.[\w-]{12}\./, '.*.'))).toEqual([
      './assets/icon.*.svg',
      './assets/style.*.css',
      './assets/script.*.js',
    ]);
    for (const [at, type] of ['image/svg+xml', 'text/css', 'text/javascript'].entries()) {
      const file = await get(files[at]!.slice(1), LOGIN);
      expect(file.headers.get('content-type')).toContain(type);
      expect(file.headers.get('cache-control')).toBe('private, max-age=31536000, immutable');
      expect(await file.text()).not.toMatch(/@import|url\(|innerHTML/);
    }
  });

  it('serves its performance API below itself, by the same access rules', async () => {
    const { get } = await serve({ authorize }, express);
    for (const path of ['/', '/assets/x.js', '/api/', '/api/system']) {
      const refused = await get(path);
      expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
        401,
        expect.stringContaining('Basic'),
      ]);
    }
    const index = (await (await get('/api/', LOGIN)).json()) as { resources: { path: string }[] };
    expect(index.resources.map(({ path }) => path)).toContain('/system');
    expect(
      ((await (await get('/api/system', LOGIN)).json()) as { volatile: object }).volatile,
    ).toHaveProperty('process');
    expect((await get('/api/nope', LOGIN)).status).toBe(404);
    expect((await get('/nope', LOGIN)).status).toBe(404);
    expect((await get('/apix', LOGIN)).status).toBe(404);
  });
});

describe('the dashboard', () => {
  it('is encoded once for all clients, in the coding that each prefers', async () => {
    const { port } = await serve({ authorize: () => true });
    const fetchIn = (coding: string) =>
      raw(port, `GET ${MOUNT}/ HTTP/1.1\nHost: a\nAccept-Encoding: ${coding}\nConnection: close\n\n`);
    const [plain, br, gzip] = [
      await fetchIn('identity'),
      await fetchIn('gzip;q=0.5, br'),
      await fetchIn('gzip'),
    ];
    expect(br.head).toContain('Content-Encoding: br');
    expect(gzip.head).toContain('Content-Encoding: gzip');
    expect(plain.head).toContain('Vary: Accept-Encoding');
    expect(brotliDecompressSync(br.body)).toEqual(plain.body);
    expect(gunzipSync(gzip.body)).toEqual(plain.body);
  });

  it('opens by a link without `authorize`, and then shows figures alone', async () => {
    const { page, url, get } = await serve();
    const locked = await get('/');
    expect([locked.status, locked.headers.get('content-type')]).toEqual([403, 'text/html; charset=utf-8']);
    expect(await locked.text()).toMatch(/dashboard\.link\(url\).*dashboard\(\{ perf, authorize/);
    const { search } = new URL(page.link(url + MOUNT)!);
    expect((await get(`/api/system${search}`)).status).toBe(403);
    const opened = await get(`/${search}`);
    expect([opened.status, opened.headers.get('location')]).toEqual([303, './']);
    const cookie = opened.headers.get('set-cookie')!.split(';')[0]!;
    expect(await (await get('/', { cookie })).text()).toContain('name="hotpath-changes" content="no"');
    expect((await get('/api/system', { cookie })).status).toBe(200);
    vi.stubEnv('NODE_ENV', 'production');
    expect((await get('/', { cookie })).status).toBe(403);
    expect(warn).toHaveBeenCalled();
  });

  it('names itself in messages about its options', () => {
    expect(() => dashboard({} as DashboardOptions)).toThrow(/dashboard\.?.*perf/s);
  });
});
