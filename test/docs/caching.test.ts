import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { majors } from '../helpers/http.js';
import { examplesOf, runExample } from './examples.js';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/caching.md'), 'utf8');
const examples = examplesOf(page);

/** The part of the page under one heading. */
function section(heading: string): string {
  const from = page.indexOf(`## ${heading}\n`);
  const to = page.indexOf('\n## ', from + 1);
  return page.slice(from, to < 0 ? undefined : to);
}

/** The words in the first cells of the tables under a heading. */
function wordsUnder(heading: string): string[] {
  const cells = section(heading)
    .split('\n')
    .map((line) => /^\| (`[^|]+) \|/.exec(line)?.[1] ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word));
}

/** Where the source of the cache gives a reason. */
const REASONS: readonly [where: RegExp, files?: readonly string[]][] = [
  [/(?:\brefuse|#refuse|\bsilent)\('([a-z-]+)'/g],
  [/\b(?:refusal|bypass|detail|reason|skip)(?:: | = )'([a-z-]+)'/g],
  // One of two: `detail: isLate ? 'timeout' : 'error'`.
  [/\b(?:detail|skip)(?:: | = )[^;,]*? \? '([a-z-]+)'/g],
  [/\b(?:detail|skip)(?:: | = )[^;,]*? : '([a-z-]+)'/g],
  // The last of a fill's arguments.
  [/#fill\([^;]*, '([a-z-]+)'\)/g],
  // Functions that answer with the reason, or with none.
  [/\breturn '([a-z-]+)';/g, ['request.ts', 'storable.ts', 'met-request.ts']],
  [/\breturn [^;]*\? '([a-z-]+)' : undefined;/g, ['met-request.ts']],
  [/\? undefined : '([a-z-]+)';/g, ['request.ts', 'storable.ts']],
];

/** The words that the source of the cache can give as a reason. */
function wordsOfTheSource(): Set<string> {
  const folder = join(root, 'src/cache');
  const found = new Set<string>();
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8');
    for (const [where, files] of REASONS) {
      if (files && !files.includes(file)) continue;
      for (const [, word = ''] of text.matchAll(where)) found.add(word);
    }
  }
  return found;
}

/** Response headers that give their name as the reason. */
function personalFields(): string[] {
  const source = readFileSync(join(root, 'src/cache/headers.ts'), 'utf8');
  const list = /const PERSONAL = \[([^\]]+)\]/.exec(source)?.[1] ?? '';
  return [...list.matchAll(/'([a-z0-9-]+)'/g)].map(([, name = '']) => name);
}

describe('docs/caching.md', () => {
  describe.each(majors)('on %s', (_name, express) => {
    it.each(examples.map((example) => [example.name, example] as const))(
      'what is shown under "%s" is what happens',
      async (_heading, example) => {
        await runExample(example, express);
      },
    );
  });

  it('names every reason that the cache can give, and no other', () => {
    const documented = new Set(wordsUnder('What is not stored, and what to do about it'));
    for (const word of ['off', 'upgrade']) documented.add(word);
    documented.delete('detail'); // the tables' own heading
    const given = wordsOfTheSource();
    for (const word of personalFields()) given.add(word);
    const defaults = ['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'client-certificate'];
    expect(given.size).toBeGreaterThan(40);
    expect([...given].filter((word) => !documented.has(word))).toEqual([]);
    expect([...documented].filter((word) => !given.has(word) && !defaults.includes(word))).toEqual([]);
  });

  it('names every word of X-Cache and every reason to forward', () => {
    const read = (file: string) => readFileSync(join(root, 'src', file), 'utf8');
    const results = /export type XCache = ([^;]+);/.exec(read('cache/status.ts'))?.[1] ?? '';
    const reasons = /export type ForwardReason =([^;]+);/.exec(read('http/cache-status.ts'))?.[1] ?? '';
    const text = section('Reading X-Cache and Cache-Status');
    const words = [...results.matchAll(/'([A-Z]+)'/g)].map(([, word]) => `\`${word}\``);
    // No part of a response is stored, so none is ever completed.
    const unused = ['partial'];
    const forward = [...reasons.matchAll(/'([a-z-]+)'/g)].map(([, word = '']) => word);
    words.push(...forward.filter((word) => !unused.includes(word)).map((word) => `\`fwd=${word}\``));
    expect(words.length).toBeGreaterThan(10);
    expect(words.filter((word) => !text.includes(word))).toEqual([]);
  });

  it('its links lead somewhere', () => {
    const anchors = [...page.matchAll(/^## (.+)$/gm)].map(
      ([, heading = '']) =>
        `#${heading
          .toLowerCase()
          .replace(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-')}`,
    );
    const used = [...page.matchAll(/\]\((#[^)]+)\)/g)].map(([, anchor]) => anchor);
    expect(used.filter((anchor) => !anchors.includes(anchor as string))).toEqual([]);
    expect(anchors.filter((anchor) => !used.includes(anchor))).toEqual([]);
    const named = [...page.matchAll(/\]\[([a-z0-9]+)\]/g)].map(([, name]) => name);
    expect(named.filter((name) => !page.includes(`\n[${name}]: https://www.rfc-editor.org/`))).toEqual([]);
  });
});
