import { access, constants } from 'node:fs/promises';
import { type Browser, chromium } from 'playwright-core';
import { installDebianPackage } from './system-packages.js';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Flags for tests: no graphics card, and no traffic by the browser itself. */
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Launches the installed Chromium without a window. Without one, installs it or names the package to install. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = await findChromium();
  // Chromium's sandbox refuses to run as root.
  const args = process.getuid?.() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS;
  return chromium.launch({ executablePath, args, headless: true });
}

async function findChromium(): Promise<string> {
  const found = await firstExecutable();
  if (found !== undefined) return found;
  await installDebianPackage('chromium', 'A test in a browser');
  const installed = await firstExecutable();
  if (installed === undefined)
    throw new Error(`Chromium was installed, but is in none of ${PLACES.join(', ')}`);
  return installed;
}

async function firstExecutable(): Promise<string | undefined> {
  for (const place of PLACES) {
    const usable = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return place;
  }
  return undefined;
}
