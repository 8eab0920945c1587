import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');

describe('ARCHITECTURE.md', () => {
  it('names only files that exist', () => {
    const named = [...page.matchAll(/`((?:[\w-]+\/)*[\w-]+\.ts)`/g)].map(([, path = '']) => path);
    expect(named.length).toBeGreaterThan(40);
    const isThere = (path: string) => [path, `src/${path}`].some((each) => existsSync(join(root, each)));
    expect(named.filter((path) => !isThere(path))).toEqual([]);
  });

  it('draws only folders that exist', () => {
    const tree = /```text\nsrc\/\n([^`]+)```/.exec(page)?.[1] ?? '';
    const trail: string[] = [];
    const missing = [...tree.matchAll(/^( +)([\w-]+)\/ /gm)].filter(([, indent = '', name = '']) => {
      trail.splice(indent.length / 2 - 1, Number.POSITIVE_INFINITY, name);
      return !existsSync(join(root, 'src', ...trail));
    });
    expect(trail.length).toBeGreaterThan(0);
    expect(missing.map(([line]) => line)).toEqual([]);
  });

  it('answers twenty questions', () => {
    const rows = page.match(/^\| .+\? \| `.+` \|$/gm) ?? [];
    expect(rows.length).toBe(20);
  });
});
