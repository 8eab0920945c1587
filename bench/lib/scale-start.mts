// The parts of `npm run bench:scale` that measure the start of an app and of each subpath of the package.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { BUILT, ROOT } from './build.mjs';
import { SERVER_CORE } from './cores.mjs';
import type { ScaleResult } from './results.mjs';
import type { ScaleOptions } from './scale-load.mjs';

/** Twice the number of rounds, because a start is short. */
const STARTS = 10;

const APPS = {
  'Express 5 alone': `
    import express from 'express';
    const app = express();`,
  'Express 5 and hotpath': `
    import express from 'express';
    import { hotpath } from 'hotpath';
    const app = express();
    app.use(hotpath());`,
  'Express 5 and the assembled stack': `
    import express from 'express';
    import apicache from 'apicache';
    import compression from 'compression';
    import promBundle from 'express-prom-bundle';
    import responseTime from 'response-time';
    const app = express();
    app.use(responseTime());
    app.use(promBundle({ includeMethod: true, includePath: true }));
    app.use(compression());
    app.use(apicache.middleware('1 hour'));`,
};

const FIRST_ANSWER = `
    app.get('/', (req, res) => res.json({ id: 1 }));
    const server = app.listen(0, '127.0.0.1', async () => {
      const answer = await fetch('http://127.0.0.1:' + server.address().port);
      await answer.text();
      console.log(Date.now() - Number(process.argv[2]));
      process.exit();
    });`;

export async function measureStart({ say }: ScaleOptions): Promise<ScaleResult['start']> {
  const files = Object.entries(APPS).map(([what, text], i) => {
    const file = join(BUILT, `start-${i}.mjs`);
    writeFileSync(file, text + FIRST_ANSWER);
    return { what, file, milliseconds: [] as number[] };
  });
  for (let round = 0; round < STARTS; round++) {
    for (const { file, milliseconds } of files) milliseconds.push(Number(node(file, String(Date.now()))));
  }
  for (const { what, milliseconds } of files) say(`  ${what}: ${milliseconds.join(', ')} ms`);
  return files.map(({ what, milliseconds }) => ({ what, milliseconds }));
}

export async function measureSubpaths({ say }: ScaleOptions): Promise<ScaleResult['subpaths']> {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, unknown>;
  };
  const rows: ScaleResult['subpaths'][number][] = [];
  for (const key of Object.keys(exports).filter((each) => each !== './package.json')) {
    const subpath = `hotpath${key.slice(1)}`;
    const file = join(BUILT, 'import.mjs');
    const text = `const begin = performance.now(); await import('${subpath}'); console.log(performance.now() - begin); process.exit();`;
    writeFileSync(file, text);
    const importMilliseconds = Array.from({ length: STARTS }, () => Number(node(file)));
    const own = await sizeOf(subpath, false);
    const all = await sizeOf(subpath, true);
    rows.push({
      subpath,
      importMilliseconds,
      bytes: own.bytes,
      gzip: own.gzip,
      bytesWithDependencies: all.bytes,
      gzipWithDependencies: all.gzip,
    });
    say(`  ${subpath}: ${own.gzip} bytes, with dependencies ${all.gzip} (minified, gzip)`);
  }
  return rows;
}

function node(...args: string[]): string {
  return execFileSync('taskset', ['-c', SERVER_CORE, process.execPath, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_ENV: 'production' },
  });
}

/** Bundles a subpath. Without dependencies, bare imports stay external. */
async function sizeOf(subpath: string, hasDependencies: boolean): Promise<{ bytes: number; gzip: number }> {
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  ) as { dependencies?: Record<string, string>; peerDependencies?: Record<string, string> };
  const outside = [...Object.keys(peerDependencies), ...(hasDependencies ? [] : Object.keys(dependencies))];
  const { outputFiles } = await build({
    stdin: { contents: `export * from '${subpath}';`, resolveDir: BUILT },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: outside,
    tsconfigRaw: '{}',
    logLevel: 'error',
  });
  const contents = (outputFiles[0] as { contents: Uint8Array }).contents;
  return { bytes: contents.length, gzip: gzipSync(contents, { level: 9 }).length };
}
