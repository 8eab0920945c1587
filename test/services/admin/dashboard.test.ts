import { hotpath } from 'hotpath';
import { basicAuth, dashboard, type JobFigures } from 'hotpath/admin';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOOKS, look, rulesFor, violationsOf } from '../../helpers/axe.js';
import { launchBrowser, readNow } from '../../helpers/browser.js';
import { express5, type Listening, listen, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const MOUNT = '/admin/performance';
const LOGIN = { username: 'admin', password: 'secret' };

/** A path, a user agent and an SQL text that would do something as markup or code. */
const HOSTILE = {
  path: `/items/<img src=x onerror=alert(1)>`,
  agent: '<script>alert(document.domain)</script>',
  sql: `/items/1?q=' OR 1=1; DROP TABLE users --`,
};

interface Instance extends Listening {
  readonly perf: ReturnType<typeof hotpath>;
}

const JOBS: JobFigures = {
  queue: 'reports',
  waitingCount: 12,
  delayedCount: 0,
  runningCount: 1,
  completedCount: 4,
  failedCount: 2,
  durationSeconds: [1, 2, 3],
  workers: [
    {
      id: 'a',
      host: HOSTILE.agent,
      pid: 4242,
      runningCount: 1,
      maxCount: 2,
      cpuCores: 0.97,
      memoryBytes: 64 * 1024 ** 2,
      beatAt: Date.now(),
    },
  ],
};

/** An instance whose own policy is the strictest that is common: `default-src 'self'`. */
async function startInstance(redis: RedisServer): Promise<Instance> {
  const perf = hotpath({
    cache: { redis: { url: redis.url, prefix: 'd:', readTimeout: 5, writeTimeout: 5 } },
    routes: {
      '/items/:id': { cache: { ttl: '1h', tags: ['items'], vary: { headers: ['user-agent'] } } },
    },
    metrics: { defaultMetrics: false },
    telemetry: { queries: true },
  });
  perf.cache.cached(async () => 1, { name: 'rates', ttl: '1h' });
  const app = express5();
  app.use(perf);
  app.use((_req, res, next) => {
    res.set('Content-Security-Policy', "default-src 'self'");
    next();
  });
  app.get(
    '/items/:id',
    (req, res) => void res.json({ id: req.params.id, made: ++made, text: 'text '.repeat(400) }),
  );
  app.get('/slow', (_req, res) => void setTimeout(() => res.json({}), 120));
  app.get('/fails', (_req, res) => void res.status(503).end());
  app.get('/metrics', perf.metrics.handler);
  const authorize = basicAuth({ users: { [LOGIN.username]: LOGIN.password } });
  app.use(MOUNT, dashboard({ perf, authorize, jobs: () => JOBS }));
  const listening = await listen(app);
  await waitFor(() => perf.cache.stats().redis!.ready);
  return { ...listening, perf };
}

/** Responses that handlers of both instances have made. */
let made = 0;
let browser: Browser;
let redis: RedisServer;
let instances: Instance[];

beforeAll(async () => {
  [browser, redis] = await Promise.all([launchBrowser(), RedisServer.start()]);
  instances = [await startInstance(redis), await startInstance(redis)];
});

afterAll(async () => {
  await browser?.close();
  for (const { perf, close } of instances ?? []) {
    await perf.close();
    await close();
  }
  await redis?.stop();
});

/** Opens the dashboard of an instance. `complaints` fills with errors, and with requests that leave the origin. */
async function open({ url }: Listening, options: BrowserContextOptions = {}) {
  const context = await browser.newContext({ httpCredentials: LOGIN, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error}`));
  page.on('dialog', (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(url)) complaints.push(`left the origin: ${request.url()}`);
  });
  await page.addInitScript(
    'addEventListener("securitypolicyviolation", (event) => console.error("CSP", event.violatedDirective));',
  );
  await page.clock.install();
  await page.goto(url + MOUNT);
  await page.locator('#status[data-state="live"]').waitFor();
  return { page, complaints, close: () => context.close() };
}

/** Sends a request until the page shows an element: figures of the last minute need requests in it. */
async function askUntil(instance: Listening, path: string, page: Page, selector: string, hasText: RegExp) {
  await waitFor(async () => {
    await ask(instance, [path]);
    await readNow(page);
    return (await page.locator(selector, { hasText }).count()) > 0;
  });
}

async function ask({ url }: Listening, paths: readonly string[], headers: Record<string, string> = {}) {
  for (const path of paths) await (await fetch(url + path, { headers })).arrayBuffer();
}

const textOf = async (page: Page, selector: string) => (await page.locator(selector).textContent()) ?? '';

describe('the dashboard of two instances that share a Redis', () => {
  it('shows the queue, the durations and the workers of background jobs, and names the cached functions', async () => {
    const { page, complaints, close } = await open(instances[0]!);
    await page.locator('#jobs-panel').waitFor();
    const values = page.locator('#jobs-facts dd');
    await values.first().waitFor();
    expect(await values.allTextContents()).toEqual(['12', '1', '0', '4', '2', '2 s', '3 s', '1']);
    expect(await textOf(page, '#jobs-workers th')).toBe(`${HOSTILE.agent}, process 4242`);
    expect(await page.locator('#jobs-workers td').first().textContent()).toBe('1 of 2');
    if (process.env.SCREENSHOTS)
      await page.locator('#jobs-panel').screenshot({ path: `${process.env.SCREENSHOTS}/jobs-panel.png` });
    const row = page.locator('#functions tr').first();
    await row.waitFor();
    expect(await row.textContent()).toMatch(/^rates/);
    expect(complaints).toEqual([]);
    await close();
  });

  it('shows numbers that move with the traffic and agree with the metrics', async () => {
    const [first] = instances as [Instance, Instance];
    await ask(first, ['/items/1', '/items/1', '/items/2', '/slow', '/fails']);
    const { page, complaints, close } = await open(first);
    await page.locator('#saved-sums', { hasText: /^1 requests/ }).waitFor();
    await ask(first, Array<string>(20).fill('/items/1'));
    await readNow(page);
    await page.locator('#saved-sums', { hasText: /^21 requests/ }).waitFor();
    const metrics = await (await fetch(`${first.url}/metrics`)).text();
    expect(metrics).toMatch(/http_requests_total\{.*path="\/items\/:id".*\} 23/);
    await askUntil(first, '/fails', page, '#failures-count', /^[1-9]\d* of \d+ failed/);
    await askUntil(first, '/slow', page, '#slowest', /GET \/slow/);
    await askUntil(first, '/slow', page, '#routes', /GET \/slow/);
    expect(complaints).toEqual([]);
    await close();
  });

  it('purges on both, after a preview of the entries that match', async () => {
    const [first, second] = instances as [Instance, Instance];
    const madeOn = async ({ url }: Listening) =>
      ((await (await fetch(`${url}/items/7`)).json()) as { made: number }).made;
    const [before, beforeThere] = [await madeOn(first), await madeOn(second)];
    expect([await madeOn(first), await madeOn(second)]).toEqual([before, beforeThere]);
    const { page, complaints, close } = await open(first);
    await page.selectOption('#purge-kind', 'pattern');
    await page.fill('#purge-value', '/items/:id');
    expect(await page.locator('#purge-run').isDisabled()).toBe(true);
    await page.keyboard.press('Enter');
    await page.locator('#purge-preview', { hasText: /^Matches \d+ entr/ }).waitFor();
    expect(await textOf(page, '#purge-urls')).toContain('/items/7');
    await page.click('#purge-run');
    await page.locator('#purge-result', { hasText: 'Purged on every instance.' }).waitFor();
    expect(await madeOn(first)).toBeGreaterThan(before);
    await waitFor(async () => (await madeOn(second)) > beforeThere);
    expect(first.perf.cache.stats().purges).toBe(1);
    await page.fill('#explain-url', '/items/7');
    await page.keyboard.press('Enter');
    await page.locator('#explain-result', { hasText: 'Rule/items/:id' }).waitFor();
    await page.click('#optimise');
    await page.locator('#optimise-result', { hasText: 'Compression:' }).waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('shows both instances, one of them, and their sums', async () => {
    const [first, second] = instances as [Instance, Instance];
    await ask(second, ['/items/1']);
    for (const { perf } of instances) await perf.telemetry!.step();
    const { page, complaints, close } = await open(first);
    await page.locator('#instances tr').nth(1).waitFor();
    await page.selectOption('#instance', 'all');
    let total = 0;
    for (const { url } of instances) {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      for (const [, count] of metrics.matchAll(/^http_requests_total\{.*\} (\d+)$/gm)) total += Number(count);
    }
    await page.locator('#failures-count', { hasText: `of ${total} failed` }).waitFor();
    await page.selectOption('#instance', second.perf.telemetry!.labels.id);
    await page.locator('#charts-hint', { hasText: 'keeps its own history' }).waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('shows hostile paths, user agents and SQL as text', async () => {
    const [first] = instances as [Instance, Instance];
    await ask(first, [HOSTILE.path, HOSTILE.path, HOSTILE.sql, HOSTILE.sql], { 'user-agent': HOSTILE.agent });
    const { page, complaints, close } = await open(first);
    await page.locator('#cache-top', { hasText: 'img' }).waitFor();
    expect(await textOf(page, '#cache-top')).toContain('DROP');
    for (const path of [HOSTILE.path, HOSTILE.sql]) {
      await page.fill('#explain-url', path);
      await page.keyboard.press('Enter');
      await page.locator('#explain-result .facts').waitFor();
    }
    await page.selectOption('#purge-kind', 'tag');
    await page.fill('#purge-value', 'items');
    await page.keyboard.press('Enter');
    await page.locator('#purge-urls', { hasText: 'img' }).waitFor();
    await page.fill('#purge-value', `<img src=x onerror=alert(1)>`);
    await page.keyboard.press('Enter');
    await page.locator('#purge-preview', { hasText: 'Matches 0 entries' }).waitFor();
    expect(await page.locator('img, main script').count()).toBe(0);
    expect(complaints).toEqual([]);
    await close();
  });
});

/** Multiplies the figures of a response: 200 routes, 20 instances, an hour of points. */
// biome-ignore lint/suspicious/noExplicitAny: the form of each is that of its resource.
function multiply(path: string, answer: any): unknown {
  const { volatile } = answer;
  const many = (items: object[], count: number, rename: (at: number) => object) =>
    Array.from({ length: count }, (_, at) => ({ ...items[at % items.length], ...rename(at) }));
  if (path.endsWith('/api')) {
    volatile.routes = many(volatile.routes, 200, (at) => ({
      route: `/routes/${at}/:id`,
      recent: volatile.routes[0].sinceStart,
    }));
    volatile.routeCount = 200;
  }
  if (path.endsWith('/instances'))
    volatile.instances = many(volatile.instances, 20, (at) => ({ id: `instance-${at}` }));
  if (path.endsWith('/history')) {
    const { process: own } = volatile;
    own.at = Array.from({ length: 720 }, (_, at) => answer.at - (719 - at) * 5000);
    for (const name of Object.keys(own.figures))
      own.figures[name] = own.at.map((_: number, at: number) => Math.abs(Math.sin(at / 20)));
  }
  return answer;
}

describe('the dashboard in a browser', () => {
  it('stays small with 200 routes, 20 instances and an hour of history', async () => {
    await ask(instances[0]!, ['/items/1']);
    const { page, complaints, close } = await open(instances[0]!);
    await page.route(/\/api\/(?:api|instances|history)\?/, async (route) => {
      const response = await route.fetch();
      const path = new URL(route.request().url()).pathname;
      const json = multiply(path, await response.json());
      await route.fulfill({ response, json });
    });
    await page.reload();
    await page.click('#routes-more');
    await page.locator('#routes tr').nth(199).waitFor();
    await page.locator('#instances tr').nth(19).waitFor();
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable');
    const measure = async () => {
      await session.send('HeapProfiler.collectGarbage');
      const { metrics } = await session.send('Performance.getMetrics');
      return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
    };
    const before = await measure();
    // A reading begins once the one before is shown.
    const refreshes = 3;
    for (let at = 0; at < refreshes; at++) await readNow(page);
    const after = await measure();
    const script = (after.ScriptDuration! - before.ScriptDuration!) / refreshes;
    console.log(`dashboard: ${(script * 1000).toFixed(1)} ms of script a refresh`);
    expect(after.JSHeapUsedSize).toBeLessThan(50 * 1024 ** 2);
    expect(after.Nodes).toBeLessThan(15_000);
    // Refreshes update the nodes that are there.
    expect(after.Nodes! - before.Nodes!).toBeLessThan(500);
    expect(complaints).toEqual([]);
    await close();
  });

  it('has no violation of axe at 390 and 1280 pixels in both themes, and fits', async () => {
    const { page, complaints, close } = await open(instances[0]!);
    await askUntil(instances[0]!, '/slow', page, '#routes', /GET \/slow/);
    for (const each of LOOKS) {
      await look(page, each);
      expect(await violationsOf(page, 'html', rulesFor(each)), each.join()).toEqual([]);
      const tooWide = await page.evaluate<string[]>(`(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        const isWide = (element) => element.getBoundingClientRect().right > clientWidth;
        const names = [...document.querySelectorAll('main *, header *')].filter(isWide).map(({ tagName, id, className }) => [tagName, id, className].join(' '));
        return scrollWidth > clientWidth ? names : [];
      })()`);
      expect(tooWide, each.join()).toEqual([]);
    }
    expect(complaints).toEqual([]);
    await close();
  });

  it('shows the other figures where a response has none', async () => {
    const { page, complaints, close } = await open(instances[0]!);
    const answers = [{ volatile: null }, { volatile: {} }, null];
    let isBroken = (path: string) => path !== '/api';
    let broken = 0;
    await page.route(/\/api\/.*\?part=/, async (route) => {
      const path = new URL(route.request().url()).pathname.replace(`${MOUNT}/api`, '');
      if (isBroken(path)) await route.fulfill({ json: answers[broken++ % answers.length] });
      else await route.continue();
    });
    await page.reload();
    await askUntil(instances[0]!, '/slow', page, '#routes', /GET \/slow/);
    expect(broken).toBeGreaterThan(3);
    isBroken = (path) => path === '/api';
    broken = 0;
    await page.reload();
    await page.locator('#cache-facts', { hasText: 'Entries' }).waitFor();
    await waitFor(() => broken >= 3);
    expect(await page.locator('#status').getAttribute('data-state')).toBe('live');
    expect(complaints.filter((complaint) => complaint.startsWith('exception'))).toEqual([]);
    await close();
  });

  it('works with the keyboard alone, and keeps the focus across refreshes', async () => {
    const { page, close } = await open(instances[0]!);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.className')).toBe('skip');
    for (const id of ['theme', 'optimise', 'routes-filter', 'routes-sort']) {
      while ((await page.evaluate('document.activeElement.id')) !== id) await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.type('slow');
    await page.locator('#routes tr', { hasText: '/items' }).waitFor({ state: 'detached' });
    for (let at = 0; at < 2; at++) await readNow(page);
    expect(await page.evaluate('document.activeElement.value')).toBe('slow');
    await close();
  });

  it('says that the server is gone, and goes on when it is back', async () => {
    const { page, close } = await open(instances[0]!);
    await page.context().setOffline(true);
    await page.clock.fastForward(2000);
    await page.locator('#trouble', { hasText: 'The server does not answer' }).waitFor();
    await page.context().setOffline(false);
    await page.locator('#status[data-state="live"]').waitFor();
    expect(await page.locator('#trouble').isHidden()).toBe(true);
    await close();
  });
});
