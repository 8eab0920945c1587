import { type Hotpath, hotpath } from 'hotpath';
import { basicAuth, dashboard } from 'hotpath/admin';
import { monitorPool, type PostgresDatabase, postgres } from 'hotpath/postgres';
import pg from 'pg';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOOKS, look, rulesFor, violationsOf } from '../../helpers/axe.js';
import { launchBrowser, readNow } from '../../helpers/browser.js';
import { express5, type Listening, listen, waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

const LOGIN = { username: 'admin', password: 'secret' };

let server: TestPostgres;
let browser: Browser;
let pool: pg.Pool;
let databases: Record<string, PostgresDatabase>;
let perf: Hotpath;
let app: Listening;

beforeAll(async () => {
  [browser, server] = await Promise.all([launchBrowser(), startPostgres()]);
  pool = new pg.Pool({ connectionString: await server.createDatabase('shown') });
  await pool.query(
    `CREATE TABLE sales AS SELECT n AS id, n % 1000 AS price FROM generate_series(1, 50000) n`,
  );
  perf = hotpath({ metrics: { defaultMetrics: false } });
  monitorPool(pool, { perf, slow: '1ms', explain: true });
  databases = {
    '/admin': postgres(pool, { perf, indexes: { apply: true } }),
    '/strict': postgres(pool, { perf, indexes: { apply: true, levels: ['trial'] } }),
    '/closed': postgres(pool, { perf }),
  };
  await pool.query('CREATE TABLE gone (id int)');
  await databases['/admin']!.purgeOnChange({
    sales: { columns: ['id'], tags: ({ id }) => `sale:${id}`, all: { tag: 'sales' } },
    gone: { all: { tag: 'gone' } },
  });
  await pool.query('UPDATE sales SET price = price + 1 WHERE id <= 3');
  await databases['/admin']!.flush();
  const express = express5();
  express.use(perf);
  express.get('/repeats', async (_req, res) => {
    for (let id = 1; id <= 15; id++) await pool.query('SELECT price FROM sales WHERE id = $1', [id]);
    res.json({});
  });
  const authorize = basicAuth({ users: { [LOGIN.username]: LOGIN.password } });
  for (const [path, database] of Object.entries(databases))
    express.use(path, dashboard({ perf, postgres: database, authorize }));
  express.use('/alone', dashboard({ perf, authorize }));
  app = await listen(express);
});

afterAll(async () => {
  await browser?.close();
  await app?.close();
  for (const database of Object.values(databases ?? {})) await database.close();
  await perf?.close();
  await pool?.end();
  await server?.stop();
});

async function open(width: number, colorScheme: 'light' | 'dark', path = '/admin') {
  const context = await browser.newContext({
    httpCredentials: LOGIN,
    viewport: { width, height: 900 },
    colorScheme,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.clock.install();
  await page.goto(`${app.url}${path}`);
  await page.locator('#status[data-state="live"]').waitFor();
  return { page, complaints, close: () => context.close() };
}

const textOf = async (page: Page, selector: string) => (await page.locator(selector).textContent()) ?? '';

describe('the dashboard of a database', () => {
  it('shows its queries with a plan, N+1, the pool, the tables and the share of each route', async () => {
    await fetch(`${app.url}/repeats`);
    const { page, complaints, close } = await open(1280, 'light');
    await page.locator('#statements tr', { hasText: 'SELECT price FROM sales WHERE id = ?' }).waitFor();
    await page.locator('#repeated li', { hasText: 'GET /repeats: 15 times' }).waitFor();
    expect(await textOf(page, '#repeated')).toContain('dashboard-database.test.ts:');
    await page.locator('#slow-queries summary').first().click();
    expect(await page.locator('#slow-queries pre').first().textContent()).toMatch(
      /Seq Scan on sales .*Filter: \(id = \?\)/s,
    );
    await page.locator('#tables tr', { hasText: 'sales' }).waitFor();
    expect(await textOf(page, '#tables')).toMatch(/sales[\d.]+ MB.*no index/);
    expect(await textOf(page, '#changes-tables')).toBe('salesfollowing163gonefollowing000');
    expect(await textOf(page, '#changes-facts')).toMatch(
      /Last read.*Records, with their rows1, 6.*Read byeach instance/,
    );
    await pool.query('DROP TABLE gone');
    await waitFor(() => databases['/admin']!.changes()?.state === 'incomplete');
    await readNow(page, 6000);
    await page
      .locator('#changes-state', { hasText: 'does not follow all tables. gone: no such table' })
      .waitFor();
    await page.locator('#changes-tables tr', { hasText: 'gonemissing' }).waitFor();
    expect(await textOf(page, '#database-hint')).toMatch(/^PostgreSQL \d+.* · \d+ queries/);
    expect(await textOf(page, '#pool-facts')).toContain('Saturated');
    expect(await textOf(page, '#server-facts')).toMatch(/Size[\d.]+ MB/);
    const share = page.locator('#routes tr', { hasText: '/repeats' }).locator('td').last();
    expect(await share.textContent()).toMatch(/^\d[\d.]* %$/);
    expect(complaints).toEqual([]);
    await close();
  });

  it('fits 390 and 1280 pixels and has no violation of axe in both themes', async () => {
    const { page, complaints, close } = await open(1280, 'light');
    await page.locator('#statements tr').first().waitFor();
    const section = 'section[aria-labelledby="database-title"]';
    for (const each of LOOKS) {
      await look(page, each);
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overflow), each.join()).toBe(0);
      const folder = process.env.SCREENSHOTS;
      if (folder)
        await page.locator(section).screenshot({ path: `${folder}/database-${each.join('-')}.png` });
      expect(await violationsOf(page, section, rulesFor(each)), each.join()).toEqual([]);
    }
    expect(complaints).toEqual([]);
    await close();
  });
});

describe('the indexes on the dashboard', () => {
  beforeAll(async () => {
    await pool.query(
      `CREATE EXTENSION hypopg;
       CREATE TABLE stock AS SELECT n AS item, n % 1000 AS amount FROM generate_series(1, 60000) n;
       CREATE INDEX once ON stock (amount);
       CREATE INDEX twice ON stock (amount)`,
    );
    await pool.query('VACUUM ANALYZE stock');
    for (let item = 1; item <= 15; item++)
      await pool.query('SELECT amount FROM stock WHERE item = $1', [item]);
  });

  it('says why nothing can be found or built', async () => {
    const [alone, closed, strict] = await Promise.all([
      open(390, 'light', '/alone'),
      open(390, 'light', '/closed'),
      open(390, 'light', '/strict'),
    ]);
    expect(await alone.page.locator('#indexes-empty').textContent()).toContain('postgres(pool)');
    expect(await alone.page.locator('#indexes-find').isVisible()).toBe(false);
    await alone.close();
    await closed.page.click('#indexes-find');
    await closed.page.locator('#indexes-closed', { hasText: 'indexes: { apply: true }' }).waitFor();
    expect(await closed.page.locator('#indexes-missing input:visible').count()).toBe(0);
    expect(await closed.page.locator('#indexes-build').isVisible()).toBe(false);
    await closed.close();
    await strict.page.click('#indexes-find');
    await strict.page.locator('#indexes-missing input').first().check();
    await strict.page.click('#indexes-build');
    await strict.page.locator('#indexes-status', { hasText: /^level: / }).waitFor();
    await strict.close();
  });

  it('finds a missing index on demand, builds it, and shows the cost before and after', async () => {
    const { page, complaints, close } = await open(1280, 'light');
    const requests: string[] = [];
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (pathname.includes('/indexes')) requests.push(`${request.method()} ${pathname}`);
    });
    await page.locator('#statements tr').first().waitFor();
    // Two rounds of the page read no advice, because it may take long.
    for (let round = 0; round < 2; round++) await readNow(page);
    expect(requests).toEqual([]);
    await page.focus('#indexes-find');
    await page.keyboard.press('Enter');
    const advice = page.locator('#indexes-missing > li', { hasText: 'ON "public"."stock"' });
    await advice.waitFor();
    expect(await advice.textContent()).toMatch(/verified · about [\d.]+ MB · stock: 60,000 rows/);
    expect(await advice.locator('tbody tr').first().textContent()).toMatch(
      /SELECT amount FROM stock WHERE item = \?15[\d,.]+×/,
    );
    expect(await textOf(page, '#existing')).toMatch(
      /CREATE INDEX once .*duplicate.*equal to the index twice/,
    );
    expect(await page.isDisabled('#indexes-build')).toBe(true);
    // Each width meets each theme, and the panel with advice and the one with an index meet each width and theme.
    await shoot(page, 'advice', [LOOKS[0], LOOKS[3]]);
    await advice.locator('input').focus();
    await page.keyboard.press('Space');
    await page.focus('#indexes-build');
    await page.keyboard.press('Enter');
    const built = page.locator('#indexes-builds li[data-state="built"]');
    await built.getByText(/Cost [\d,]+ before, [\d.]+ now/).waitFor();
    const [, before, after] = /Cost ([\d,]+) before, ([\d.]+) now/.exec((await built.textContent()) ?? '')!;
    expect(Number(after)).toBeLessThan(Number(before!.replace(',', '')) / 2);
    await page.locator('#indexes-status', { hasText: '1 of 1 built.' }).waitFor();
    expect(await advice.locator('input').isVisible()).toBe(false);
    const { rows } = await pool.query("SELECT 1 FROM pg_indexes WHERE indexname LIKE 'hotpath_stock%'");
    expect(rows).toHaveLength(1);
    await shoot(page, 'built', [LOOKS[1], LOOKS[2]]);
    expect(complaints).toEqual([]);
    await close();
  });
});

/** Checks the section in some widths and themes. */
async function shoot(page: Page, name: string, looks: readonly (typeof LOOKS)[number][]): Promise<void> {
  for (const each of looks) {
    await look(page, each);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    expect(await violationsOf(page, '#indexes-panel'), each.join()).toEqual([]);
    const folder = process.env.SCREENSHOTS;
    if (!folder) continue;
    const path = `${folder}/indexes-${name}-${each.join('-')}.png`;
    await page.locator('#indexes-panel').screenshot({ path });
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}
