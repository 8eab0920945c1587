import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const rows = readFileSync(join(root, 'docs/security.md'), 'utf8')
  .split('\n')
  .map((line) => /^\| ([A-K]\d\d) \| (.+) \| (.+) \|$/.exec(line))
  .filter((row) => row !== null)
  .map(([, id = '', promise = '', tests = '']) => ({ id, promise, tests }));

/** How many cases each group has. */
const GROUPS = { A: 25, B: 21, C: 4, D: 23, E: 15, F: 14, G: 38, H: 16, I: 13, J: 17, K: 14 };

/** The ids in the titles of a test file: `it('A01 …')`, `describe('A01, A02: …')`. */
function idsIn(file: string): Set<string> {
  const text = readFileSync(join(root, file), 'utf8');
  const titles = text.match(/(?<=[('"`\s[])(?:[A-K]\d\d(?:[,/:]| and)? ?)+(?=\S)/g) ?? [];
  return new Set(titles.flatMap((title) => title.match(/[A-K]\d\d/g) ?? []));
}

function testFiles(folder = 'test'): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return testFiles(path);
    return path.endsWith('.test.ts') ? [path] : [];
  });
}

describe('docs/security.md', () => {
  it('names every case once', () => {
    const expected = Object.entries(GROUPS).flatMap(([group, count]) =>
      Array.from({ length: count }, (_, i) => `${group}${String(i + 1).padStart(2, '0')}`),
    );
    expect(rows.map(({ id }) => id)).toEqual(expected);
  });

  it.each(rows.filter(({ tests }) => tests !== 'later'))('names tests of $id that exist', ({ id, tests }) => {
    const files = tests.split(', ').map((file) => file.replaceAll('`', ''));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) expect([...idsIn(file)], file).toContain(id);
  });

  it('calls later only what has no test at all', () => {
    const tested = new Set(testFiles().flatMap((file) => [...idsIn(file)]));
    const later = rows.filter(({ tests }) => tests === 'later').map(({ id }) => id);
    expect(later.filter((id) => tested.has(id))).toEqual([]);
  });
});
