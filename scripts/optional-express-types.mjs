// Makes the built types usable in a project that has no types of Express. There, the import must be no error, and its
// `Request` is `any`. The step that bundles types drops the comment that says so in the source.
import { readdir, readFile, writeFile } from 'node:fs/promises';

for (const file of await readdir('dist')) {
  if (!/\.d\.c?ts$/.test(file)) continue;
  const path = `dist/${file}`;
  const types = await readFile(path, 'utf8');
  const marked = types.replace(/^(?<!@ts-ignore\n)import .* from 'express';$/gm, '// @ts-ignore\n$&');
  if (marked !== types) await writeFile(path, marked);
}
