import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'docs/warnings.md'), 'utf8');
const source = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => [file, readFileSync(join(root, 'src', file), 'utf8')] as const);

/** The words that the source has between quotes, outside comments: codes, and names of environment variables. */
const codes = new Set(
  source
    .filter(([file]) => file !== 'environment.ts')
    .flatMap(([, text]) => [...text.matchAll(/'(HOTPATH_[A-Z_]+)'/g)].map(([, code]) => code)),
);
const sections = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      return [heading, lines.join('\n').split(/^## /m)[0]!.trim()] as const;
    }),
);

describe('docs/warnings.md', () => {
  it('has a paragraph for each code that the source can emit or throw, and no other', () => {
    expect(codes.size).toBeGreaterThan(20);
    expect([...sections.keys()].toSorted()).toEqual([...codes].toSorted());
    for (const [code, text] of sections) expect(text.length, code).toBeGreaterThan(60);
  });

  it('covers every warning: only one place calls emitWarning', () => {
    expect(source.filter(([, text]) => text.includes('process.emitWarning(')).map(([file]) => file)).toEqual([
      join('runtime', 'warn.ts'),
    ]);
  });
});
