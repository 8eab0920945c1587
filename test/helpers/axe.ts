import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Of what is no violation, axe need not describe each element. No rule that is on needs the style sheets. */
const OPTIONS = { resultTypes: ['violations'], preload: false };

type Look = readonly [width: number, theme: 'light' | 'dark'];

/** Widths and themes, each with each. */
export const LOOKS = [
  [390, 'light'],
  [390, 'dark'],
  [1280, 'light'],
  [1280, 'dark'],
] as const satisfies Look[];

/** The rules that read colours. */
const COLOURS = { runOnly: ['color-contrast', 'link-in-text-block'] };

/** Shows a page as it is with a width and a theme. */
export async function look(page: Page, [width, colorScheme]: Look): Promise<void> {
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme });
}

/** A theme changes only colours: in its second theme, a width needs no other rules. */
export const rulesFor = ([, theme]: Look) => (theme === 'light' ? 'all' : 'colours');

/**
 * The violations of axe's rules, each with its elements.
 *
 * @param within a selector. Default: the whole page.
 * @param rules `colours` reads the rules about colours alone.
 */
export async function violationsOf(
  page: Page,
  within = 'html',
  rules: 'all' | 'colours' = 'all',
): Promise<string[]> {
  // Once for each page: compiled code is faster the second time.
  if (!(await page.evaluate<boolean>('"axe" in window'))) await page.evaluate(SOURCE);
  const options = rules === 'all' ? OPTIONS : { ...OPTIONS, ...COLOURS };
  return page.evaluate<string[]>(
    `axe.run(${JSON.stringify(within)}, ${JSON.stringify(options)}).then(({ violations }) =>
      violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(': ')))`,
  );
}
