import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { detailWords } from '../../docs/detail-words.js';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'docs/cache-status.md'), 'utf8');

const emitted = detailWords(root, [
  'src/cache',
  'src/functions',
  'src/front',
  'src/front-door',
  'src/assets',
]);

/** The cells of the table rows between two headings, in order. */
function rowsUnder(heading: string, end: string): string[][] {
  const from = page.indexOf(`\n## ${heading}\n`);
  const to = end === '' ? page.length : page.indexOf(`\n## ${end}\n`);
  return page
    .slice(from, to)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .map((line) => line.slice(2, -2).split(' | '));
}

/** The words in the first cells of those rows. */
function wordsUnder(heading: string, end: string): string[] {
  const cells = rowsUnder(heading, end).map(([first = '']) => first);
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word));
}

/** The source that declares something, wherever it lies. */
function sourceWith(declaration: string): string {
  const folder = join(root, 'src');
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const text = file.endsWith('.ts') ? readFileSync(join(folder, file), 'utf8') : '';
    if (text.includes(declaration)) return text;
  }
  throw new Error(`nothing in src declares ${declaration}`);
}

/** The literals of a union type, as the source declares it. */
function unionOf(name: string): string[] {
  const declaration = `export type ${name} =`;
  const [, body = ''] = new RegExp(`${declaration}([^;]+);`).exec(sourceWith(declaration)) ?? [];
  return [...body.matchAll(/'([A-Za-z-]+)'/g)].map(([, word = '']) => word);
}

describe('docs/cache-status.md', () => {
  const documented = wordsUnder('detail', '').filter((word) => word !== 'detail');

  it('explains every word that the source can send as detail', () => {
    expect(emitted.size).toBeGreaterThan(45);
    const missing = [...emitted].filter((word) => !documented.includes(word));
    expect(missing, 'add a row to docs/cache-status.md for each of these words').toEqual([]);
  });

  it('explains no word that the source never sends', () => {
    const { cache } = hotpath().config;
    const credentials = cache ? cache.credentials : [];
    const onlyInExplain = ['off', 'upgrade'];
    const others = documented.filter((word) => !emitted.has(word) && /^[a-z-]+$/.test(word));
    const expected = [...credentials, ...onlyInExplain].filter((word) => !emitted.has(word));
    expect(others.toSorted()).toEqual(expected.toSorted());
    expect(new Set(documented).size).toBe(documented.length);
  });

  it('says what to do about every word that a response can carry', () => {
    const rows = rowsUnder('detail', '').filter((cells) => cells.length === 3);
    expect(rows.length).toBeGreaterThan(45);
    expect(rows.filter((cells) => cells.some((cell) => cell.trim() === ''))).toEqual([]);
  });

  it('explains every word of X-Cache and every reason to forward', () => {
    // `partial` is for caches that complete a stored part of a response; this one stores whole responses only.
    const reasons = unionOf('ForwardReason').filter((word) => word !== 'partial');
    expect(wordsUnder('X-Cache', 'Cache-Status').slice(1).toSorted()).toEqual(unionOf('XCache').toSorted());
    const parts = wordsUnder('Cache-Status', 'detail').filter((part) => part.startsWith('fwd='));
    expect(parts.map((part) => part.slice(4)).toSorted()).toEqual(reasons.toSorted());
  });
});

describe('the collection of detail words', () => {
  it.each([
    'timeout',
    'error',
    'nonce',
    'x-csrf-token',
    'when-changed',
    'target-form',
    'collapse-timeout',
    'upstream-headers',
  ])('follows %s through branches, variables, lists, parameters and return values', (word) => {
    expect([...emitted]).toContain(word);
  });
});
