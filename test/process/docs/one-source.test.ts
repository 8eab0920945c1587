import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionSections } from '../../../scripts/options-page.js';

const root = join(import.meta.dirname, '../../..');

/** The pages for users, but the one that is generated from the source. */
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md') && name !== 'docs/options.md',
);
const names = new Set(
  optionSections(root).flatMap(({ options }) => options.map(({ name }) => name.split('.').at(-1)!)),
);

describe('defaults of options', () => {
  it.each(pages)('have docs/options.md as their only table: %s', (page) => {
    const headers = readFileSync(join(root, page), 'utf8')
      .split('\n')
      .filter((line, at, lines) => /^\| --- /.test(lines[at + 1] ?? '') && line.startsWith('| '));
    const withDefaults = headers.filter((line) => /\bdefaults?\b/i.test(line));
    expect(withDefaults, 'link to docs/options.md, which is generated from the source').toEqual([]);
  });

  it('are given for every option that may be left out', () => {
    const without = optionSections(root)
      // The directives of a Cache-Control policy are sent if they are given.
      .filter(({ path }) => path.join('.') !== 'cacheControl.default')
      .flatMap(({ path, options }) =>
        options
          // A group has the defaults of its options.
          .filter(({ name }) => !options.some((other) => other.name.startsWith(`${name}.`)))
          .filter((option) => option.default === '' && !/Required\.|See \[/.test(option.text))
          .map(({ name }) => [...path, name].join('.')),
      );
    expect(without).toEqual([]);
    expect(names.size).toBeGreaterThan(50);
  });
});
