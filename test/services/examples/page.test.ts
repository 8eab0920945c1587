import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestShop, type TestShop } from '../../examples/shop.js';
import { launchBrowser } from '../../helpers/browser.js';

let shop: TestShop;
let browser: Browser;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  [shop, browser] = await Promise.all([startTestShop(), launchBrowser()]);
  await shop.db.query('CREATE EXTENSION hypopg');
}, 300_000);

afterAll(async () => {
  await browser?.close();
  await shop?.stop();
});

async function openPage(): Promise<void> {
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.addInitScript(
    'addEventListener("securitypolicyviolation", (event) => console.error("CSP", event.violatedDirective));',
  );
  await page.goto(shop.url);
}

type Side = 'without' | 'cold' | 'warm';
const cell = (card: string, row: string, side: Side) =>
  page.locator(`#route-${card} tr[data-row="${row}"] td[data-side="${side}"]`);
const textOf = async (card: string, row: string, side: Side) =>
  (await cell(card, row, side).textContent()) ?? '';
const buttonOf = (card: string, name: string) => page.locator(`#route-${card}`).getByRole('button', { name });

async function compare(card: string, name = 'Compare') {
  await buttonOf(card, name).click();
  // A button is busy from its click until its result is shown.
  await page.locator(`#route-${card} [aria-busy]`).waitFor({ state: 'detached' });
}

describe('the page', () => {
  beforeAll(openPage);
  afterAll(() => page.close());

  test('compares a route without hotpath, with a cold cache and with a warm one, again and again', async () => {
    for (let turn = 0; turn < 2; turn++) {
      await compare('list');
      expect(await textOf('list', 'cache', 'without')).toBe('none');
      expect(await textOf('list', 'cache', 'cold')).toBe('MISS');
      expect(await textOf('list', 'cache', 'warm')).toBe('HIT');
    }
    const queries = [await textOf('list', 'queries', 'without'), await textOf('list', 'queries', 'cold')];
    expect(queries).toEqual(['2', '2']);
    expect(await textOf('list', 'queries', 'warm')).toBe('0');
    expect(await textOf('list', 'status', 'warm')).toBe('200');
    expect(await textOf('list', 'time', 'warm')).toMatch(/^\d+(\.\d+)? ms/);
    const [without, warm] = [await textOf('list', 'size', 'without'), await textOf('list', 'size', 'warm')];
    expect(Number.parseFloat(warm)).toBeLessThan(Number.parseFloat(without) / 3);
    expect(complaints).toEqual([]);
  });

  test('shows the headers of a route without making other cards higher', async () => {
    const heights = () =>
      page.$$eval('#cards .card', (cards) => cards.map((card) => card.getBoundingClientRect().height));
    const before = await heights();
    await page.locator('#route-list summary').click();
    const after = await heights();
    expect(after[0]).toBeGreaterThan(before[0]!);
    for (const [at, height] of after.entries()) if (at > 0) expect(height).toBeLessThanOrEqual(before[at]!);
    expect(await page.locator('#route-list details pre').nth(1).textContent()).toContain(
      'cache-status: hotpath; hit',
    );
    await page.locator('#route-list summary').click();
    expect(await heights()).toEqual(before);
  });

  test('shows lines of config that the app has', async () => {
    const source = readFileSync(
      join(import.meta.dirname, '../../../examples/products-api/policies.ts'),
      'utf8',
    );
    const plain = (code: string) => code.replace(/\s+/g, '').replace(/,(?=[}\])])/g, '');
    const shown = await page.locator('.config').allTextContents();
    expect(shown.length).toBeGreaterThan(8);
    for (const code of shown) expect(plain(source)).toContain(plain(code));
  });

  test('shows live figures, which agree with the cache', async () => {
    await page.locator('#live-ratio').getByText('%').waitFor();
    const { hits, misses } = shop.app.perf.cache.stats();
    const expected = `${hits} of ${hits + misses} requests`;
    await page.locator('#live-ratio-note').getByText(expected).waitFor();
    expect(await page.locator('#live-cache').textContent()).toMatch(/^[\d.]+ [km]B$/i);
    expect(await page.locator('#live-memory').textContent()).toMatch(/^[\d.]+ MB$/);
    await page.locator('#live-chart rect').first().waitFor();
    expect(complaints).toEqual([]);
  });

  test('runs a route twenty times and shows medians', async () => {
    await compare('product', 'Run 20×');
    expect(await page.locator('#route-product .verdict').textContent()).toContain('Medians of 20');
    expect(complaints).toEqual([]);
  });

  test('shows each customer a MISS of their own, and separate orders', async () => {
    const totals: string[] = [];
    for (const customer of ['2', '42']) {
      await page.selectOption('#customer', customer);
      await compare('orders');
      expect(await textOf('orders', 'cache', 'cold')).toBe('MISS');
      expect(await textOf('orders', 'cache', 'warm')).toBe('HIT');
      totals.push(await textOf('orders', 'size', 'without'));
    }
    expect(totals[0]).not.toBe(totals[1]);
    await page.selectOption('#customer', '');
    await compare('orders');
    expect(await textOf('orders', 'status', 'warm')).toBe('401');
    await page.selectOption('#customer', '1');
    // The browser itself logs each 401.
    expect(complaints.splice(0).filter((text) => !text.includes('401'))).toEqual([]);
    expect(complaints).toEqual([]);
  });

  test('names the query that one request repeats, with its place in the code', async () => {
    await page.click('#n-plus-one-run');
    const found = page.locator('#n-plus-one-found');
    await found.getByText('One request ran the same query 25 times.').waitFor();
    expect(await page.locator('#n-plus-one-cost').textContent()).toMatch(
      /^26 queries in [\d.]+ ms, [\d.]+ ms/,
    );
    expect(await found.textContent()).toContain('WHERE customer_id = ? ORDER BY placed_at DESC');
    expect(await found.textContent()).toMatch(/Where: .*routes\/mistakes\.ts:\d+/);
    expect(complaints).toEqual([]);
  });

  test('names the query that wants an index, and builds it with the time before and after', async () => {
    await page.click('#no-index-run');
    const found = page.locator('#no-index-found');
    await found.getByText(/It ran once and took \d+ % of all time/).waitFor();
    expect(await found.textContent()).toContain('WHERE i.unit_price_cents >= ?');
    await page.click('#no-index-find');
    await found.getByText(/This index makes the query \d+× cheaper/).waitFor();
    expect(await found.textContent()).toMatch(/CREATE INDEX .*order_items.*"unit_price_cents"/);
    await found.getByText(/Built\. [\d.]+ ms before, [\d.]+ ms now\./).waitFor();
    const plan = await shop.db.query<{ 'QUERY PLAN': string }>(
      'EXPLAIN SELECT 1 FROM hotpath_shop.order_items WHERE unit_price_cents >= 49000 ORDER BY unit_price_cents DESC LIMIT 20',
    );
    expect(plan.map((line) => line['QUERY PLAN']).join()).toContain('hotpath_order_items_unit_price_cents');
    await page.click('#no-index-find');
    await found.getByText(/The index is there already: hotpath_/).waitFor();
    expect(complaints).toEqual([]);
  });

  test('changes a price and shows that the next read is fresh', async () => {
    await page.getByRole('button', { name: 'Change its price' }).click();
    await page.locator('#write-steps strong').waitFor();
    const steps = await page.locator('#write-steps li').allInnerTexts();
    expect(steps).toHaveLength(6);
    const words = steps.map((step) =>
      /^(?:GET|PATCH)\s*(?:MISS|HIT)?/.exec(step)?.[0].replace(/\s+/, ' ').trim(),
    );
    expect(words.slice(0, 5)).toEqual(['GET MISS', 'GET HIT', 'PATCH', 'GET MISS', 'GET HIT']);
    for (const step of steps.slice(0, 5)) expect(step).toMatch(/server \d+(\.\d+)? ms, \d quer/);
    expect(steps[5]).toBe('The first read after the write was fresh.');
    expect(complaints).toEqual([]);
  });

  test('changes a price by SQL alone, and shows that the cache follows the table', async () => {
    await page.getByRole('button', { name: 'Change it by SQL' }).click();
    await page.locator('#write-steps strong').waitFor();
    const steps = await page.locator('#write-steps li').allInnerTexts();
    const methods = steps
      .slice(0, 4)
      .map((step) => /^[A-Z]+\s*(?:MISS|HIT)?/.exec(step)?.[0].replace(/\s+/, ' '));
    expect(methods).toEqual(['GET MISS', 'GET HIT', 'UPDATE', 'GET HIT']);
    expect(steps[4]).toMatch(/^The cache followed the table within [\d.]+ m?s\.$/);
    expect(complaints).toEqual([]);
  });

  test('shows the progress of a forecast and its chart, then a hit, and cancels another', async () => {
    const state = page.locator('#forecast-state');
    await page.selectOption('#forecast-runs', '200000');
    await page.click('#forecast-run');
    await state.getByText('Done.').waitFor();
    expect(await page.locator('#forecast-chart polygon').count()).toBe(2);
    expect(await page.locator('#forecast-summary').textContent()).toMatch(/^In 90 days: \d+ units/);
    expect(await page.locator('#forecast-bar').getAttribute('value')).toBe('100');
    await page.click('#forecast-run');
    await state.getByText('From the cache of functions').waitFor();
    await page.selectOption('#forecast-runs', '20000000');
    await page.click('#forecast-run');
    await state.getByText('Running: ').waitFor();
    await page.click('#forecast-cancel');
    await state.getByText('Cancelled.').waitFor();
    expect(await page.locator('#forecast-chart svg').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('shows a changed price from the event stream, and stops', async () => {
    await page.getByRole('button', { name: 'Start listening' }).click();
    await page.getByText('Connected.').waitFor();
    await page.getByRole('button', { name: 'Change its price' }).click();
    await page.locator('#events-list').getByText('now costs').waitFor();
    await page.getByRole('button', { name: 'Stop listening' }).click();
    await page.getByText('Stopped.').waitFor();
    expect(complaints).toEqual([]);
  });

  test('echoes any body as text', async () => {
    await page.fill('#echo-body', '{ "markup": "<img src=x onerror=alert(1)>" }');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('#echo-output').getByText('Status 200').waitFor();
    expect(await page.locator('#echo-output').textContent()).toContain('<img src=x');
    expect(await page.locator('img').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('downloads the CSV', async () => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
    expect(download.suggestedFilename()).toBe('orders.csv');
    expect(await download.failure()).toBeNull();
  });

  // Last, because the browser keeps messages in its console.
  test('uploads 11 MB and shows the 413', async () => {
    await page.getByRole('button', { name: 'Upload 11 MB' }).click();
    await page
      .locator('#upload-output')
      .getByText(/Status 413|No answer/)
      .waitFor();
    expect(await page.locator('#upload-output').textContent()).toContain('Status 413');
    // The browser itself logs a 413 in its console; nothing else may be there.
    expect(complaints.filter((text) => !text.includes('413'))).toEqual([]);
  });
});

describe('the page with every result open', () => {
  let first: unknown;
  beforeAll(async () => {
    await openPage();
    await page.keyboard.press('Tab');
    first = await page.evaluate('document.activeElement.className');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('#summary').getByText('All routes together').waitFor();
  });

  afterAll(() => page.close());

  test('works with the keyboard alone', () => {
    expect(first).toBe('skip');
  });

  test('compares all routes and sums them up', async () => {
    for (const card of ['list', 'stats', 'fields', 'product', 'search', 'orders']) {
      expect(await textOf(card, 'cache', 'cold'), card).toBe('MISS');
      expect(await textOf(card, 'cache', 'warm'), card).toBe('HIT');
      expect(await textOf(card, 'queries', 'warm'), card).toBe('0');
    }
    expect(complaints).toEqual([]);
  });

  test.each([
    ['a phone', 390, 'light'],
    ['a phone in the dark', 390, 'dark'],
    ['a desktop', 1280, 'light'],
    ['a desktop in the dark', 1280, 'dark'],
  ] as const)(
    'fits %s: nothing is wider than the window, and text has enough contrast',
    async (_, width, colorScheme) => {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      );
      expect(overflow).toBe(0);
      const ground = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
      const lightness = Number(/\d+/.exec(ground)?.[0]);
      expect(lightness > 128).toBe(colorScheme === 'light');
      const folder = process.env.SCREENSHOTS;
      const file = folder ? { path: `${folder}/${width}-${colorScheme}.png` } : {};
      const picture = await page.screenshot({ fullPage: true, animations: 'disabled', ...file });
      expect(picture.length).toBeGreaterThan(20_000);
    },
  );
});
