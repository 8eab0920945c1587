import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { findChromium, findHeadlessShell } from '../setup/services.js';

// `import` takes twice as long: Node looks for the names that the package exports.
const load = createRequire(import.meta.url);
const { chromium } = load('playwright-core') as typeof import('playwright-core');

/** Flags for tests: no graphics card, and no traffic by the browser itself. */
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Launches the installed Chromium without a window. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = findHeadlessShell() ?? findChromium();
  if (executablePath === undefined) throw new Error('A test in a browser needs Chromium');
  // Chromium's sandbox refuses to run as root.
  const args = process.getuid?.() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS;
  return chromium.launch({ executablePath, args, headless: true });
}

/** Lets the next reading of a dashboard be due now. Needs `page.clock.install()` before the page is opened. */
export async function readNow(page: Page, everyMs = 2000): Promise<void> {
  const read = page.waitForResponse(/\/api\/api\?part=volatile/);
  await page.clock.fastForward(everyMs);
  await read;
}
