import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import type { TestProject } from 'vitest/node';
import { builtFile } from '../helpers/program.js';

/** Programs that tests start or import in other processes. */
const PROGRAMS = [
  'examples/products-api/jobs/worker.ts',
  'examples/products-api/main.ts',
  'examples/products-api/two/instance.ts',
  'examples/products-api/two/main.ts',
  'scripts/conformance.ts',
  'src/cli/main.ts',
  'src/middleware/metrics/index.ts',
  'src/hotpath.ts',
  'test/compat/programs/next.mjs',
  'test/compat/programs/runtime.mts',
  'test/conformance/run.ts',
  'test/leaks/program.ts',
  'test/middleware/fixtures/measured.mts',
  'test/process/children/building.ts',
  'test/process/children/functions.ts',
  'test/process/children/garbage.ts',
  'test/process/children/instance.ts',
  'test/process/children/purging-workers.ts',
  'test/process/children/server.ts',
  'test/process/children/warming.ts',
  'test/store/redis/fixtures/lingering.mts',
  'test/telemetry/fixtures/cluster.mts',
];

/** Packages that are built into the programs: a process then loads few files, and starts in three quarters of the time. */
const BUNDLED = [
  'cockatiel',
  'compressible',
  'express',
  'express4',
  'lru-cache',
  'mime-types',
  'path-to-regexp',
  'pg',
  'prom-client',
  'send',
  'valibot',
];

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Keeps relative paths of the source files valid in the built files. A program that starts another one of these starts
 * the built one.
 */
const inPlace = (folder: string): Plugin => ({
  name: 'in-place',
  setup({ onLoad, onResolve }) {
    // The others may look for their own files, or share their state with a package that is not built.
    onResolve({ filter: /^[^./]/ }, ({ path, importer }) => {
      const isOwn = path.startsWith('hotpath') || BUNDLED.includes(path) || isAbsolute(path);
      return isOwn || (importer.includes('node_modules') && !path.startsWith('@opentelemetry/'))
        ? undefined
        : { path, external: true };
    });
    onLoad({ filter: /\.m?ts$/ }, ({ path }) => {
      const source = pathToFileURL(path);
      const contents = readFileSync(path, 'utf8')
        .replace(/new URL\('(\.[^']+\.ts)', import\.meta\.url\)/g, (found, target: string) => {
          const program = relative(root, fileURLToPath(new URL(target, source)));
          if (!PROGRAMS.includes(program)) return found;
          return `new URL(${JSON.stringify(pathToFileURL(builtFile(folder, program)).href)})`;
        })
        .replaceAll('import.meta.url', JSON.stringify(source.href));
      return { contents, loader: 'ts' };
    });
  },
});

/** Builds the programs into a folder with access to the installed packages. */
async function buildInto(folder: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS,
    outbase: root,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    // Packages of CommonJS require Node's modules.
    banner: {
      js: `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`,
    },
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    keepNames: true,
    plugins: [inPlace(folder)],
    logLevel: 'error',
  });
}

/**
 * Vitest calls this once, before the first test file. A built process starts three times as fast as one that
 * compiles. The folder belongs to this run, because others may run at the same time.
 */
export async function setup(project: TestProject): Promise<() => void> {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'hotpath-programs-'));
  await buildInto(folder);
  process.env.TEST_PROGRAMS = folder;
  project.onTestsRerun(() => buildInto(folder));
  return () => rmSync(folder, { recursive: true, force: true });
}
