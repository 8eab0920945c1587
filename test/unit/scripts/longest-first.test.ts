import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { LONGEST, LONGEST_OF_LAST } from '../../setup/longest-first.js';

it('starts with files that exist', () => {
  const missing = [...LONGEST, ...LONGEST_OF_LAST].filter(
    (name) => !existsSync(new URL(`../../${name}.test.ts`, import.meta.url)),
  );
  expect(missing).toEqual([]);
});
