import { connect } from 'node:net';
import { hotpath } from 'hotpath';
import { type Authorize, basicAuth, performanceApi } from 'hotpath/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { stopClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { express5, listen, majors, raw, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
const warn = vi.spyOn(process, 'emitWarning');
beforeEach(() => {
  warn.mockReset();
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.spyOn(performance, 'now').mockRestore();
});

const MOUNT = '/api/v1/performance';
const JSON_CHANGE = { 'content-type': 'application/json', 'x-hotpath-request': '1' };
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });

/** A link that was followed on another site. `fetch` would write its own `Sec-Fetch-Mode`. */
const navigationTo = (path: string) =>
  `GET ${MOUNT}${path} HTTP/1.1\nHost: a\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\n\n`;

async function serve(authorize?: Authorize, express = express5) {
  const perf = hotpath();
  const app = express();
  app.use(perf);
  const api = performanceApi({ perf, authorize });
  app.use(MOUNT, api);
  const server = later(await listen(app));
  later(perf);
  const base = server.url + MOUNT;
  const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET', body?: string) => {
    const response = await fetch(base + path, { headers, method, redirect: 'manual', body: body ?? null });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const purge = (headers: Record<string, string>) => ask('/cache/purge', headers, 'POST', '{"all":true}');
  /** Opens a link and returns the cookie of its session. */
  const signIn = async () => {
    const { headers } = await ask(`/${new URL(api.link(base)!).search}`);
    return headers.get('set-cookie')!.split(';')[0]!;
  };
  return { ...server, app, perf, api, base, ask, purge, signIn };
}

describe.each(majors)('without `authorize` on %s', (_name, express) => {
  it('answers nothing in production, and says how to open it [I05, J01]', async () => {
    const { ask, api, base, signIn } = await serve(undefined, express);
    const link = api.link(base)!;
    const cookie = await signIn();
    vi.stubEnv('NODE_ENV', 'production');
    expect(api.link(base)).toBeUndefined();
    for (const path of ['/', '/system', '/nope', `/${new URL(link).search}`]) {
      for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE', 'PROPFIND']) {
        const { status, text, headers } = await ask(
          path,
          { cookie, ...JSON_CHANGE, ...basic('a:b') },
          method,
        );
        expect([status, headers.get('allow'), headers.get('set-cookie')]).toEqual([403, null, null]);
        expect(JSON.parse(text).detail).toMatch(/NODE_ENV is production.*basicAuth/);
      }
    }
  });

  it('opens by a link that works once, for a cookie that scripts and other sites cannot use', async () => {
    const { ask, api, base } = await serve(undefined, express);
    expect((await ask('/system')).status).toBe(403);
    const link = api.link(base)!;
    const { pathname, search } = new URL(link);
    expect([pathname, search.length]).toEqual([`${MOUNT}/`, '?key='.length + 43]);
    const opened = await ask(`/${search}`);
    expect([opened.status, opened.headers.get('location'), opened.text]).toEqual([303, './', '']);
    expect(opened.headers.get('referrer-policy')).toBe('no-referrer');
    expect(opened.headers.get('cache-control')).toBe('no-store');
    const [pair, ...attributes] = opened.headers.get('set-cookie')!.split('; ');
    expect(attributes).toEqual(['Max-Age=43200', 'HttpOnly', 'SameSite=Strict']);
    expect(pair).not.toContain(search.slice(5));
    for (const path of ['/', '/system', '/api', '/cache', '/database', '/instances', '/advice'])
      expect((await ask(path, { cookie: `other=1; ${pair}` })).status).toBe(200);
    // Spent, with the cookie and without it.
    expect((await ask(`/${search}`)).status).toBe(403);
    expect((await ask(`/${search}`, { cookie: pair! })).headers.get('location')).toBe('./');
    expect((await ask(`/system${search}`)).status).toBe(403);
  });

  it('permits no change by a key, but explains and previews', async () => {
    const { purge, signIn, ask, perf } = await serve(undefined, express);
    const cookie = await signIn();
    const refused = await purge({ ...JSON_CHANGE, cookie });
    expect([refused.status, JSON.parse(refused.text).detail]).toEqual([
      403,
      expect.stringContaining('set `authorize`'),
    ]);
    expect(perf.cache.stats().purges).toBe(0);
    expect((await ask('/optimize', { ...JSON_CHANGE, cookie }, 'POST', '{}')).status).toBe(403);
    const previewed = await ask('/cache/preview', { ...JSON_CHANGE, cookie }, 'POST', '{"all":true}');
    expect(previewed.status).toBe(200);
    const explained = await ask('/cache/explain', { ...JSON_CHANGE, cookie }, 'POST', '{"url":"/a"}');
    expect(explained.status).toBe(200);
    expect(
      (await ask('/cache/explain', { ...JSON_CHANGE, 'x-hotpath-request': '0', cookie }, 'POST')).status,
    ).toBe(403);
  });

  it('opens below a router, behind a changed base and without a final slash', async () => {
    const perf = hotpath();
    const app = express();
    const admin = express();
    const router = express.Router();
    const api = performanceApi({ perf });
    router.use('/perf', api);
    admin.use('/:tenant', router);
    app.use(perf);
    app.use('/admin', admin);
    later(perf);
    const { url } = later(await listen(app));
    const go = (path: string, cookie = '') => fetch(url + path, { redirect: 'manual', headers: { cookie } });
    const key = new URL(api.link(url)!).searchParams.get('key');
    // The cookie gets the folder of the URL as its path, so it comes with the final slash alone.
    const first = await go(`/admin/acme/perf?key=${key}`);
    expect([first.status, first.headers.get('location'), first.headers.get('set-cookie')]).toEqual([
      303,
      `./perf/?key=${key}`,
      null,
    ]);
    const second = await go(`/admin/acme/perf/?key=${key}&x=1`);
    expect([second.status, second.headers.get('location')]).toEqual([303, './?x=1']);
    const cookie = second.headers.get('set-cookie')!.split(';')[0]!;
    expect((await go('/admin/acme/perf/system', cookie)).status).toBe(200);
    expect((await go('/admin/acme/perf', cookie)).status).toBe(200);
    const deep = new URL(api.link(`${url}/admin/acme/perf`)!);
    expect((await go(`/admin/acme/perf/system${deep.search}`)).headers.get('location')).toBe('./system');
  });
});

describe('a key', () => {
  it.each([
    ['another key', (key: string) => `key=${'A'.repeat(key.length)}`],
    ['the start of it', (key: string) => `key=${key.slice(0, -1)}`],
    ['more than it', (key: string) => `key=${key}A`],
    ['an empty key', () => 'key='],
    ['a list', (key: string) => `key[]=${key}`],
    ['a wrong one before it', (key: string) => `key=x&key=${key}`],
  ])('does not open by %s', async (_name, write) => {
    const { ask, api, base } = await serve();
    const key = new URL(api.link(base)!).searchParams.get('key')!;
    const { status, headers } = await ask(`/?${write(key)}`);
    expect([status, headers.get('set-cookie')]).toEqual([403, null]);
    expect((await ask(`/?key=${key}`)).status).toBe(303);
  });

  it('has no link for an address that is no URL', async () => {
    const { api } = await serve();
    expect(() => api.link(MOUNT)).toThrow(/link: expected a full URL, .* received '\/api\/v1\/performance'/);
  });

  it('is not spent by HEAD, a prefetch, another method or an unknown address', async () => {
    const { ask, api, base } = await serve();
    const { search } = new URL(api.link(base)!);
    for (const method of ['HEAD', 'OPTIONS', 'POST']) {
      const { headers, status } = await ask(`/${search}`, JSON_CHANGE, method);
      expect([status, headers.get('set-cookie')]).toEqual([403, null]);
    }
    for (const name of ['sec-purpose', 'purpose', 'x-moz'])
      expect((await ask(`/${search}`, { [name]: 'prefetch' })).status).toBe(403);
    for (const path of ['/nope', '//evil.example', '/cache/purge'])
      expect((await ask(path + search)).status).toBe(403);
    expect((await ask(`/${search}`)).status).toBe(303);
  });

  it('opens one session when it comes twice at once', async () => {
    const { ask, api, base } = await serve();
    const { search } = new URL(api.link(base)!);
    const statuses = await Promise.all(
      Array.from({ length: 10 }, async () => (await ask(`/${search}`)).status),
    );
    expect(statuses.toSorted()).toEqual([303, ...Array(9).fill(403)]);
  });

  it('comes by navigation from another site without a redirect, which would lose the cookie', async () => {
    const { ask, api, base, port } = await serve();
    const { search } = new URL(api.link(base)!);
    const opened = await raw(port, navigationTo(`/${search}`), { first: true });
    expect([opened.status, opened.header('refresh')]).toEqual([200, '0; url=./']);
    const cookie = opened.header('set-cookie')!.split(';')[0]!;
    expect((await ask('/system', { cookie })).status).toBe(200);
  });

  it('is printed in a warning when a request is refused and the app has printed no link, once', async () => {
    const { ask, url } = await serve();
    for (let at = 0; at < 3; at++) expect((await ask('/system', { host: 'evil.example' })).status).toBe(403);
    expect(warn).toHaveBeenCalledTimes(1);
    const [message, options] = warn.mock.calls[0] as unknown as [string, { code: string }];
    expect(options.code).toBe('HOTPATH_ADMIN_LINK');
    const link = new URL(message.split(' ').at(-1)!);
    expect(link.origin).toBe(url.replace('127.0.0.1', 'localhost'));
    expect((await ask(`/${link.search}`)).status).toBe(303);
  });
});

describe('a session', () => {
  it('is printed for this machine, whatever host the path of a request seems to name', async () => {
    warn.mockImplementationOnce(() => {});
    const perf = later(hotpath());
    const app = express5();
    app.use('/*rest/figures', performanceApi({ perf }));
    const { port } = later(await listen(app));
    await raw(port, 'GET //evil.example/figures/ HTTP/1.1\nHost: evil.example\n\n', { first: true });
    expect(String(warn.mock.calls[0]?.[0])).toContain(`http://localhost:${port}//evil.example/figures/?key=`);
  });

  it('never takes a value from a request, and ends after twelve hours', async () => {
    const { ask, api, base, signIn, port } = await serve();
    const name = `hotpath-admin-${port}`;
    const planted = `${name}=${'A'.repeat(43)}`;
    expect((await ask('/system', { cookie: planted })).status).toBe(403);
    const { search } = new URL(api.link(base)!);
    const opened = await ask(`/${search}`, { cookie: planted });
    expect(opened.headers.get('set-cookie')).not.toContain('AAAA');
    expect((await ask('/system', { cookie: planted })).status).toBe(403);
    // A neighbouring domain may add cookies of this name, which must not lock the right one out.
    const cookie = await signIn();
    const many = `${planted}; `.repeat(100);
    expect((await ask('/system', { cookie: many + cookie })).status).toBe(200);
    for (const wrong of [`x${cookie}`, cookie.replace('=', ' ='), cookie.slice(0, -1), `${name}=`, `${name}`])
      expect((await ask('/system', { cookie: wrong })).status).toBe(403);
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now + 12 * 3600_000 + 1000);
    expect((await ask('/system', { cookie })).status).toBe(403);
    clock.mockRestore();
  });
});

describe('requests of other sites', () => {
  const sites = ['cross-site', 'same-site', 'none', 'same-origin, cross-site', 'Same-Origin', ''];
  it.each(sites)('change nothing with `Sec-Fetch-Site: %s`', async (site) => {
    const { purge, perf } = await serve(() => true);
    expect((await purge({ ...JSON_CHANGE, 'sec-fetch-site': site })).status).toBe(403);
    expect(perf.cache.stats().purges).toBe(0);
    expect((await purge({ ...JSON_CHANGE, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    expect((await purge(JSON_CHANGE)).status).toBe(200);
  });

  it.each([
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 403],
    ['a form with files', { 'content-type': 'multipart/form-data; boundary=x' }, 403],
    ['a form of plain text', { 'content-type': 'text/plain' }, 403],
    [
      'fetch without CORS',
      { 'content-type': 'text/plain', 'sec-fetch-mode': 'no-cors', 'sec-fetch-site': 'cross-site' },
      403,
    ],
    ['JSON of a plug-in', { 'content-type': 'application/json' }, 403],
    ['a header without a type', { 'x-hotpath-request': '1', 'content-type': '' }, 415],
    ['a repeated header', { ...JSON_CHANGE, 'x-hotpath-request': '1, 1' }, 403],
  ])(
    'change nothing by %s, although the browser sends the password [J04]',
    async (_name, headers, status) => {
      const { purge, perf } = await serve(basicAuth({ users: { admin: 'secret' } }));
      expect((await purge({ ...headers, ...basic('admin:secret') })).status).toBe(status);
      expect(perf.cache.stats().purges).toBe(0);
    },
  );

  it('get no CORS header, and read nothing, although the app permits every origin', async () => {
    const perf = hotpath();
    const app = express5();
    app.use(perf);
    app.use((_req, res, next) => {
      res.set('Access-Control-Allow-Origin', 'https://evil.example');
      res.set('Access-Control-Allow-Credentials', 'true');
      res.set('CDN-Cache-Control', 'max-age=60');
      next();
    });
    app.use(MOUNT, performanceApi({ perf, authorize: () => true }));
    const { url, port } = later(await listen(app));
    later(perf);
    const get = (headers: Record<string, string>) => fetch(`${url}${MOUNT}/system`, { headers });
    const own = await get({ origin: 'https://evil.example' });
    const names = [...own.headers.keys()];
    expect(names.filter((name) => /^access-control|^cdn/.test(name))).toEqual([]);
    expect(own.headers.get('cross-origin-resource-policy')).toBe('same-origin');
    for (const mode of ['cors', 'no-cors', 'navigate']) {
      const dest = mode === 'navigate' ? 'iframe' : 'empty';
      const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': mode, 'sec-fetch-dest': dest };
      expect((await get(headers)).status).toBe(403);
    }
    expect((await raw(port, navigationTo('/system'), { first: true })).status).toBe(200);
  });
});

describe('basicAuth', () => {
  it.each([
    ['admin:secret', 200],
    ['zoë:pässwörd:x', 200],
    ['admin:Secret', 401],
    ['admin:secre', 401],
    ['admin:secret ', 401],
    ['Admin:secret', 401],
    ['admin', 401],
    ['admin:', 401],
    [':', 401],
    ['', 401],
    ['toString:x', 401],
    ['__proto__:x', 401],
  ])('answers the login %j with %i', async (text, status) => {
    const { ask } = await serve(basicAuth({ users: { admin: 'secret', zoë: 'pässwörd:x' }, realm: 'shop' }));
    const { headers, ...got } = await ask('/system', basic(text));
    expect(got.status).toBe(status);
    if (status === 401) expect(headers.get('www-authenticate')).toBe('Basic realm="shop", charset="UTF-8"');
  });

  it.each([
    'Bearer YWRtaW46c2VjcmV0',
    'Basic',
    'Basic !!',
    'Basic YWRtaW46c2VjcmV0 x',
    `Basic ${'A'.repeat(15_000)}`,
    'YWRtaW46c2VjcmV0',
  ])('refuses the header %.30s', async (authorization) => {
    const { ask } = await serve(basicAuth({ users: { admin: 'secret' } }));
    expect((await ask('/system', { authorization })).status).toBe(401);
  });

  it.each([
    [undefined, /basicAuth\.users: expected at least one user/],
    [{ users: {} }, /at least one user/],
    [{ users: { admin: '' } }, /users\.admin: expected a password that is not empty/],
    [{ users: { admin: undefined } }, /at least one user/],
    [{ users: { 'a:b': 'x' } }, /expected a user name/],
    [{ users: { '': 'x' } }, /expected a user name/],
    [{ users: { a: 'x' }, realm: 'a"b' }, /realm: expected printable ASCII/],
  ])('is refused at its creation with %j, without the password in the message', (options, message) => {
    expect(() => basicAuth(options as never)).toThrow(message);
  });

  it('takes an accented letter as one character and as two', async () => {
    const { ask } = await serve(basicAuth({ users: { zoë: 'é' } }));
    for (const form of ['NFC', 'NFD'])
      expect((await ask('/system', basic('zoë:é'.normalize(form)))).status).toBe(200);
  });

  it('limits failed attempts of an address, and says when the next one may come', async () => {
    const clock = stopClock();
    const { ask } = await serve(basicAuth({ users: { admin: 'secret' } }));
    const statuses: number[] = [];
    for (let at = 0; at < 12; at++) statuses.push((await ask('/system', basic(`admin:${at}`))).status);
    expect(statuses).toEqual([...Array<number>(9).fill(401), 429, 429, 429]);
    const locked = await ask('/system', basic('admin:secret'));
    expect([locked.status, locked.headers.get('retry-after')]).toEqual([429, '6']);
    expect(locked.headers.get('www-authenticate')).toBeNull();
    clock.pass(6001);
    expect((await ask('/system', basic('admin:secret'))).status).toBe(200);
    // Requests without a password are no attempts.
    for (let at = 0; at < 20; at++) expect((await ask('/system')).status).toBe(401);
  });

  it('does not show a wrong password in its error', () => {
    expect(() => basicAuth({ users: { admin: 'hunter2\n' } })).toThrow(/^(?!.*hunter2)/s);
  });
});

describe('a function as `authorize`', () => {
  it('receives the request and the action, and may take time', async () => {
    const seen: unknown[] = [];
    const { ask, purge } = await serve(async (req, { action }) => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push([req.originalUrl, action]);
      return action === 'read';
    });
    expect((await ask('/system')).status).toBe(200);
    expect((await purge(JSON_CHANGE)).status).toBe(403);
    expect((await ask('/cache/explain', JSON_CHANGE, 'POST', '{"url":"/"}')).status).toBe(200);
    expect(seen).toEqual([
      [`${MOUNT}/system`, 'read'],
      [`${MOUNT}/cache/purge`, 'change'],
      [`${MOUNT}/cache/explain`, 'read'],
    ]);
  });

  it.each([[false], [undefined], [1], ['true'], [{}], [Promise.resolve('yes')]])(
    'refuses with anything but true: %j',
    async (value) => {
      const { ask, purge } = await serve((() => value) as unknown as Authorize);
      expect((await ask('/system')).status).toBe(403);
      expect((await purge(JSON_CHANGE)).status).toBe(403);
    },
  );

  it.each([
    [
      'throws',
      () => {
        throw new Error('db: password=hunter2');
      },
    ],
    ['rejects', () => Promise.reject(new Error('db: hunter2'))],
  ])('that %s refuses with a 500 that tells nothing, and is reported', async (_name, authorize) => {
    const { ask } = await serve(authorize as Authorize);
    const { status, text } = await ask('/system');
    expect([status, text.includes('hunter2')]).toEqual([500, false]);
    expect(JSON.stringify(warn.mock.calls)).toContain('hunter2');
  });
});

describe('an `authorize` that never settles', () => {
  it('keeps no request open: it gets a 503 in time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      let isAsked = false;
      const { port } = await serve(() => {
        isAsked = true;
        return new Promise(() => {});
      });
      const answer = raw(port, `GET ${MOUNT}/system HTTP/1.1\r\nHost: a\r\n\r\n`, { first: true });
      while (!isAsked) await nextTurn();
      vi.advanceTimersByTime(10_000);
      const { status, header } = await answer;
      expect([status, header('content-type')]).toEqual([503, 'application/problem+json']);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('large and strange requests', () => {
  it('get their response before the body, and the rest of the body is not read for ever', async () => {
    const { port } = await serve(() => true);
    const head = `POST ${MOUNT}/cache/purge HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Hotpath-Request: 1\r\n`;
    const declared = await raw(port, `${head}Content-Length: 9999999999\r\n\r\n`);
    expect([declared.status, declared.header('connection')]).toEqual([413, 'close']);
    const socket = connect(port, '127.0.0.1');
    let got = '';
    let sent = 0;
    socket.on('data', (chunk) => void (got += chunk));
    socket.on('error', () => {});
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const more = () => {
      if (socket.destroyed || socket.writableEnded || sent > 50e6) return;
      sent += chunk.length;
      socket.write(chunk, more);
    };
    more();
    await waitFor(() => socket.destroyed);
    expect(got).toMatch(/^HTTP\/1\.1 413 /);
    expect(sent).toBeLessThan(20e6);
  });

  it('have no effect by a fragment, an absolute target or bytes that are no UTF-8', async () => {
    const { port } = await serve();
    for (const target of [
      `${MOUNT}/system#x`,
      `http://a${MOUNT}/system`,
      `${MOUNT}/\xff\xfe`,
      `${MOUNT}/system%00`,
    ]) {
      const { status } = await raw(port, `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, { first: true });
      expect([400, 403]).toContain(status);
    }
  });
});
