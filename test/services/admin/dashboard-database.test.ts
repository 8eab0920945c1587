import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Hotpath, hotpath } from 'hotpath';
import { basicAuth, dashboard } from 'hotpath/admin';
import { monitorPool, type PostgresDatabase, postgres } from 'hotpath/postgres';
import pg from 'pg';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchBrowser } from '../../helpers/browser.js';
import { express5, type Listening, listen } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const LOGIN = { username: 'admin', password: 'secret' };

let server: TestPostgres;
let browser: Browser;
let pool: pg.Pool;
let database: PostgresDatabase;
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
  database = postgres(pool, { perf });
  const express = express5();
  express.use(perf);
  express.get('/repeats', async (_req, res) => {
    for (let id = 1; id <= 15; id++) await pool.query('SELECT price FROM sales WHERE id = $1', [id]);
    res.json({});
  });
  const authorize = basicAuth({ users: { [LOGIN.username]: LOGIN.password } });
  express.use('/admin', dashboard({ perf, postgres: database, authorize }));
  app = await listen(express);
});

afterAll(async () => {
  await browser?.close();
  await app?.close();
  await database?.close();
  await perf?.close();
  await pool?.end();
  await server?.stop();
});

async function open(width: number, colorScheme: 'light' | 'dark') {
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
  await page.goto(`${app.url}/admin`);
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
    expect(await textOf(page, '#database-hint')).toMatch(/^PostgreSQL \d+.* · \d+ queries/);
    expect(await textOf(page, '#pool-facts')).toContain('Saturated');
    expect(await textOf(page, '#server-facts')).toMatch(/Size[\d.]+ MB/);
    const share = page.locator('#routes tr', { hasText: '/repeats' }).locator('td').last();
    expect(await share.textContent()).toMatch(/^\d[\d.]* %$/);
    expect(complaints).toEqual([]);
    await close();
  });

  it.each([
    [390, 'light'],
    [390, 'dark'],
    [1280, 'light'],
    [1280, 'dark'],
  ] as const)('fits %d pixels and has no violation of axe, %s', async (width, scheme) => {
    const { page, complaints, close } = await open(width, scheme);
    await page.locator('#statements tr').first().waitFor();
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate(overflow)).toBe(0);
    const section = page.locator('section[aria-labelledby="database-title"]');
    const folder = process.env.SCREENSHOTS;
    if (folder) await section.screenshot({ path: `${folder}/database-${width}-${scheme}.png` });
    await page.evaluate(AXE);
    const violations = await page.evaluate<{ id: string; nodes: { html: string }[] }[]>(
      `axe.run('section[aria-labelledby="database-title"]').then(({ violations }) => violations)`,
    );
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
    expect(complaints).toEqual([]);
    await close();
  });
});
