import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    compression: 'src/middleware/compression/index.ts',
    cache: 'src/cache/index.ts',
    'cache-control': 'src/middleware/cache-control/index.ts',
    timing: 'src/middleware/timing/index.ts',
    metrics: 'src/middleware/metrics/index.ts',
    'size-limit': 'src/middleware/size-limit/index.ts',
    admin: 'src/admin/index.ts',
  },
  format: ['esm', 'cjs'],
  target: 'node20.19',
  dts: true,
  // Without splitting every CommonJS entry carries its own copy of shared modules,
  // and `instanceof HotpathError` is false across subpaths.
  splitting: true,
  sourcemap: true,
  clean: true,
  onSuccess: async () => {
    await keepPrivateFieldsApart('dist');
    await relativeMaps('dist');
  },
});

/** The maps of CommonJS with splitting name their files by the absolute paths of the machine that built them. */
async function relativeMaps(folder: string): Promise<void> {
  const maps = (await readdir(folder)).filter((file) => file.endsWith('.cjs.map'));
  await Promise.all(
    maps.map(async (file) => {
      const path = join(folder, file);
      const map = JSON.parse(await readFile(path, 'utf8')) as { file?: string; sources: string[] };
      map.file = basename(file, '.map');
      map.sources = map.sources.map((source) => (isAbsolute(source) ? basename(source) : source));
      await writeFile(path, JSON.stringify(map));
    }),
  );
}

/**
 * The step that splits CommonJS takes a private field for the export of the same name: it turns `this.#metrics = x`
 * into `this.#metrics = exports.metrics = x`, which replaces the export when the field is set.
 */
async function keepPrivateFieldsApart(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.cjs'));
  await Promise.all(
    files.map(async (file) => {
      const path = join(folder, file);
      const code = await readFile(path, 'utf8');
      await writeFile(path, code.replace(/(#(\w+)) = exports\.\2 ([^\s\w=]*=)(?!=)/g, '$1 $3'));
    }),
  );
}
