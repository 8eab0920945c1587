import { hotpath } from 'hotpath';
import { type Authorize, basicAuth, performanceApi } from 'hotpath/admin';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { launchBrowser } from '../../helpers/browser.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen } from '../../helpers/http.js';
import { startNginx } from '../../helpers/nginx.js';

const later = closeAfterEach();
afterEach(() => vi.unstubAllEnvs());

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

const MOUNT = '/api/v1/performance';
const LOGIN = { username: 'admin', password: 'secret' };

async function serve(authorize?: Authorize) {
  const perf = hotpath();
  const app = express5();
  app.use(perf);
  let seen: unknown[] = [];
  app.use((req, _res, next) => {
    seen = [req.socket.remoteAddress, req.headers.host, req.headers['x-forwarded-for']];
    next();
  });
  app.get('/page', (_req, res) => void res.type('html').send('<title>page</title>'));
  const api = performanceApi({ perf, authorize });
  app.use(MOUNT, api);
  const { port } = later(await listen(app));
  later(perf);
  const { url } = later(await startNginx(port));
  later(api);
  return { url, port, perf, api, seenByApp: () => seen };
}

describe('the performance API behind nginx with a bare proxy_pass', () => {
  it('is closed to requests that seem to come from this machine [J01, J17]', async () => {
    const { url, port, seenByApp } = await serve();
    vi.spyOn(process, 'emitWarning').mockImplementationOnce(() => {});
    for (const environment of ['development', 'production']) {
      vi.stubEnv('NODE_ENV', environment);
      for (const headers of [
        {},
        { 'x-forwarded-for': '127.0.0.1' },
        { forwarded: 'for=127.0.0.1;host=localhost' },
      ]) {
        expect((await fetch(`${url}${MOUNT}/system`, { headers })).status).toBe(403);
      }
    }
    // Nothing in such a request tells it from one of the machine itself.
    expect(seenByApp().slice(0, 2)).toEqual(['127.0.0.1', `127.0.0.1:${port}`]);
  });

  it.each(['', '/shop'])('opens in a browser by its link, below "%s" too', async (prefix) => {
    const { url, api } = await serve();
    const context = later(await browser.newContext());
    const page = await context.newPage();
    const link = api.link(`${url}${prefix}${MOUNT}`)!;
    const referrers: (string | undefined)[] = [];
    page.on('request', (request) => referrers.push(request.headers().referer));
    const opened = await page.goto(link);
    expect([opened!.status(), page.url()]).toEqual([200, `${url}${prefix}${MOUNT}/`]);
    expect((await opened!.json()).resources.length).toBeGreaterThan(10);
    expect((await page.goto(`${url}${prefix}${MOUNT}/system`))!.status()).toBe(200);
    // The key is spent, and appears in no header of a later request.
    expect(referrers.filter((referrer) => referrer?.includes('key='))).toEqual([]);
    expect((await (await browser.newContext()).newPage().then((other) => other.goto(link)))!.status()).toBe(
      403,
    );
    // Other routes of the app, whose responses are cached for clients without cookies, do not get the cookie.
    const [cookie] = await context.cookies(`${url}${prefix}${MOUNT}/system`);
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: `${prefix}${MOUNT}` });
    expect(await context.cookies(`${url}${prefix}/page`)).toEqual([]);
  });

  it('accepts a purge from a page of its own origin, and none from a page of another [J04]', async () => {
    const { url, port, perf } = await serve(basicAuth({ users: { admin: 'secret' } }));
    const context = later(await browser.newContext({ httpCredentials: { ...LOGIN, send: 'always' } }));
    const page = await context.newPage();
    const purge = `${url}${MOUNT}/cache/purge`;
    const byFetch = (address: string, mode: string, headers: Record<string, string>) =>
      page.evaluate<number | 'blocked'>(
        `fetch(${JSON.stringify(address)}, ${JSON.stringify({ method: 'POST', mode, credentials: 'include', headers, body: '{"all":true}' })})
          .then((response) => response.status, () => 'blocked')`,
      );
    const change = { 'content-type': 'application/json', 'x-hotpath-request': '1' };
    await page.goto(`${url}/page`);
    expect(await byFetch(purge, 'same-origin', change)).toBe(200);
    expect(perf.cache.stats().purges).toBe(1);
    // Another port is another origin of the same site; another name is another site.
    for (const origin of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
      await page.goto(`${origin}/page`);
      expect(await byFetch(purge, 'cors', change)).toBe('blocked');
      // Sent, and the page may not see the response (Cross-Origin-Resource-Policy).
      expect(await byFetch(purge, 'no-cors', { 'content-type': 'text/plain' })).toBe('blocked');
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
        await page.goto(`${origin}/page`);
        const form = { action: purge, method: 'post', enctype: type };
        const input = { name: '{"all":true,"x":"', value: '"}' };
        await page.evaluate(`
          const form = Object.assign(document.createElement('form'), ${JSON.stringify(form)});
          form.append(Object.assign(document.createElement('input'), ${JSON.stringify(input)}));
          document.body.append(form);
          form.submit();`);
        await page.waitForURL(purge);
      }
    }
    expect(perf.cache.stats().purges).toBe(1);
  });

  it('streams events through the proxy as they are made', async () => {
    const { url } = await serve(() => true);
    const page = await later(await browser.newContext()).newPage();
    await page.goto(`${url}/page`);
    const events = await page.evaluate<string[]>(`new Promise((resolve) => {
      const source = new EventSource('${MOUNT}/events');
      const got = [];
      source.addEventListener('snapshot', ({ data }) => {
        if (got.push(data) < 2) return;
        source.close();
        resolve(got);
      });
    })`);
    expect(events.map((data) => typeof JSON.parse(data).requests.active)).toEqual(['number', 'number']);
  });
});
