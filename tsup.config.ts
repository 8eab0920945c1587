import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Plugin, transform } from 'esbuild';
import { defineConfig } from 'tsup';
import { loadPageFiles } from './src/admin/dashboard/page-files.js';

/** Puts the bundled page of the dashboard in place of the module that bundles it, so that the package needs no bundler. */
const embedPage: Plugin = {
  name: 'embed-page',
  setup({ onLoad }) {
    onLoad({ filter: /admin\/dashboard\/page-files\.ts$/ }, async () => {
      const files = JSON.stringify(await loadPageFiles('src/admin/dashboard/page'));
      return { contents: `export const loadPageFiles = async () => (${files});`, loader: 'js' };
    });
  },
};

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    compression: 'src/middleware/compression/index.ts',
    cache: 'src/cache/index.ts',
    'cache-control': 'src/middleware/cache-control/index.ts',
    timing: 'src/middleware/timing/index.ts',
    metrics: 'src/middleware/metrics/index.ts',
    'size-limit': 'src/middleware/size-limit/index.ts',
    warming: 'src/warming/index.ts',
    postgres: 'src/postgres/index.ts',
    admin: 'src/admin/index.ts',
    assets: 'src/assets/index.ts',
    cli: 'src/cli/main.ts',
  },
  format: ['esm', 'cjs'],
  target: 'node20.19',
  dts: true,
  // Without splitting every CommonJS entry carries its own copy of shared modules,
  // and `instanceof HotpathError` is false across subpaths.
  splitting: true,
  esbuildPlugins: [embedPage],
  sourcemap: true,
  clean: true,
  onSuccess: async () => {
    await dropBareImports('dist');
    await convertToCommonJs('dist');
  },
});

/**
 * Drops the imports of chunks of which nothing is used. The package has no side effects, so they only load more, and
 * esbuild warns about each when it bundles an app.
 */
async function dropBareImports(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.js'));
  for (const file of files) {
    const code = await readFile(join(folder, file), 'utf8');
    // The lines stay, for the source map.
    await writeFile(join(folder, file), code.replace(/^import "\.\/[\w-]+\.js";$/gm, ''));
  }
}

/**
 * Replaces the CommonJS files that tsup wrote: where it splits, it rewrites `?.`, `??` and `#field` as calls of helpers,
 * which made requests up to a third dearer and once replaced an export. esbuild converts each ES module and leaves its
 * code alone.
 */
async function convertToCommonJs(folder: string): Promise<void> {
  const files = await readdir(folder);
  const replaced = files.filter((file) => /\.cjs(\.map)?$/.test(file));
  await Promise.all(replaced.map((file) => rm(join(folder, file))));
  await Promise.all(files.filter((file) => file.endsWith('.js')).map((file) => convert(folder, file)));
}

async function convert(folder: string, file: string): Promise<void> {
  const target = file.replace(/\.js$/, '.cjs');
  const code = await readFile(join(folder, file), 'utf8');
  const sourceMap = await readFile(join(folder, `${file}.map`), 'utf8');
  const inlined = Buffer.from(sourceMap).toString('base64');
  const withMap = code.replace(/^\/\/# sourceMappingURL=.*$/m, '');
  const converted = await transform(
    `${withMap}\n//# sourceMappingURL=data:application/json;base64,${inlined}`,
    {
      format: 'cjs',
      platform: 'node',
      target: 'node20.19',
      banner: '"use strict";',
      sourcemap: 'external',
      sourcefile: file,
    },
  );
  const output = converted.code.replace(/(require|import)\("(\.\/[\w-]+)\.js"\)/g, '$1("$2.cjs")');
  await writeFile(join(folder, target), `${output}//# sourceMappingURL=${target}.map\n`);
  await writeFile(join(folder, `${target}.map`), converted.map);
}
