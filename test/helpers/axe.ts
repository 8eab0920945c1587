import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Of what is no violation, axe need not describe each element. No rule that is on needs the style sheets. */
const OPTIONS = { resultTypes: ['violations'], preload: false };

/** Widths and themes, each with each. */
export const LOOKS = [
  [390, 'light'],
  [390, 'dark'],
  [1280, 'light'],
  [1280, 'dark'],
] as const;

/** Shows a page as it is with a width and a theme. */
export async function look(page: Page, [width, colorScheme]: (typeof LOOKS)[number]): Promise<void> {
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme });
}

/**
 * The violations of axe's rules, each with its elements.
 *
 * @param within a selector. Default: the whole page.
 */
export async function violationsOf(page: Page, within = 'html'): Promise<string[]> {
  // Once for each page: compiled code is faster the second time.
  if (!(await page.evaluate<boolean>('"axe" in window'))) await page.evaluate(SOURCE);
  return page.evaluate<string[]>(
    `axe.run(${JSON.stringify(within)}, ${JSON.stringify(OPTIONS)}).then(({ violations }) =>
      violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(': ')))`,
  );
}
