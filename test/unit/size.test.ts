import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { filesUnder } from '../helpers/files-under.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const MOST_LINES = 600;

// biome limits the lines of a function in src.
it('keeps every file of src and test within 600 lines', () => {
  const files = ['src', 'test'].flatMap((folder) =>
    filesUnder(join(root, folder))
      .filter((name) => /\.[cm]?ts$/.test(name))
      .map((name) => join(folder, name)),
  );
  const linesOf = (file: string) => readFileSync(join(root, file), 'utf8').split('\n').length - 1;
  expect(files.length).toBeGreaterThan(400);
  expect(files.filter((file) => linesOf(file) > MOST_LINES)).toEqual([]);
});

it('keeps src/cache within 20 files and folders', () => {
  expect(readdirSync(join(root, 'src/cache')).length).toBeLessThanOrEqual(20);
});
