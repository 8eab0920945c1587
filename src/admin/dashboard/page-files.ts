import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** The text of each file of the page. */
export interface PageFiles {
  /** Names the others as `./assets/script` and so on. */
  readonly page: string;
  readonly script: string;
  readonly style: string;
  readonly icon: string;
}

/**
 * Bundles the page from its source. In the package there is no source and no bundler: the build replaces this module by
 * one that holds the result (tsup.config.ts).
 *
 * @param folder the source of the page.
 */
export async function loadPageFiles(
  folder: string = fileURLToPath(new URL('page', import.meta.url)),
): Promise<PageFiles> {
  const { outputFiles } = await build({
    absWorkingDir: resolve(folder),
    entryPoints: ['main.ts', 'style.css'],
    bundle: true,
    minify: true,
    write: false,
    outdir: 'out',
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    // Licences of bundled packages stay in the files.
    legalComments: 'eof',
    logLevel: 'silent',
  });
  const bundled = (ending: string) => outputFiles.find(({ path }) => path.endsWith(ending))!.text;
  const read = (name: string) => readFile(`${folder}/${name}`, 'utf8');
  const [page, icon] = await Promise.all([read('index.html'), read('icon.svg')]);
  return { page, icon, script: bundled('.js'), style: bundled('.css') };
}
