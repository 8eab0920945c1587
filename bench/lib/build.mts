// Compiles the contenders to plain JavaScript, as for a deployed app. With tsx, every closure would have a helper call
// before it (`keepNames`), and tsconfig's `paths` would resolve `hotpath` to the source.
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Inside the package, so that `hotpath` resolves to the package itself; ignored by git. */
export const BUILT = join(ROOT, '.tmp', 'bench');

export async function buildContenders(): Promise<void> {
  if (!existsSync(join(ROOT, 'dist', 'index.js'))) {
    throw new Error('the package is not built; run `npm run build` first');
  }
  const files = ['contenders', 'generator'].flatMap((folder) =>
    readdirSync(join(ROOT, 'bench', folder)).map((file) => join(ROOT, 'bench', folder, file)),
  );
  await build({
    // Modules that generators and the benchmark both use.
    entryPoints: [
      ...files.filter((file) => file.endsWith('.mts')),
      join(ROOT, 'bench', 'lib', 'statistics.mts'),
    ],
    outdir: join(BUILT, 'js'),
    outbase: join(ROOT, 'bench'),
    outExtension: { '.js': '.mjs' },
    format: 'esm',
    platform: 'node',
    target: 'node20',
    bundle: false,
    tsconfigRaw: '{}',
    logLevel: 'error',
  });
}

/** The built file of a contender or generator. */
export function builtFile(source: string): string {
  const [folder, file] = source.split('/');
  return join(BUILT, 'js', folder as string, basename(file as string, '.mts').concat('.mjs'));
}
