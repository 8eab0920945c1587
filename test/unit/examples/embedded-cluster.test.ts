import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

// Plain JavaScript, without types.
const { openCluster } = await import(
  new URL('../../../examples/products-api/embedded-cluster.js', import.meta.url).href
);

const CONTENT = 'the files of a cluster';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpath-cluster-'));
  file = join(folder, 'cache', 'pglite.tar.gz');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** @returns the files that PGlite got, by its calls. It accepts only those that it has made. */
async function open(at = file): Promise<(string | undefined)[]> {
  const loads: (string | undefined)[] = [];
  const db = { dumpDataDir: async () => new Blob([CONTENT]) };
  const opened = await openCluster(at, async ({ loadDataDir }: { loadDataDir?: Blob }) => {
    const loaded = await loadDataDir?.text();
    loads.push(loaded);
    if (loaded !== undefined && loaded !== CONTENT) throw new Error('not a cluster');
    return db;
  });
  expect(opened).toBe(db);
  return loads;
}

describe('the files of the embedded PostgreSQL', () => {
  it('are made by the first start, and loaded by later ones', async () => {
    expect(await open()).toEqual([undefined]);
    expect(await open()).toEqual([CONTENT]);
    expect(readdirSync(join(folder, 'cache'))).toEqual(['pglite.tar.gz']);
  });

  it('are made by each of two that start together', async () => {
    expect(await Promise.all([open(), open()])).toEqual([[undefined], [undefined]]);
    expect(await open()).toEqual([CONTENT]);
    expect(readdirSync(join(folder, 'cache'))).toEqual(['pglite.tar.gz']);
  });

  it('are made again where they are damaged, or those of something else', async () => {
    await open();
    truncateSync(file, 20);
    expect(await open()).toEqual([undefined]);
    writeFileSync(file, gzipSync('something else'));
    expect(await open()).toEqual(['something else', undefined]);
    expect(await open()).toEqual([CONTENT]);
  });

  it('are made at each start where they cannot be stored', async () => {
    writeFileSync(join(folder, 'taken'), '');
    const below = join(folder, 'taken', 'pglite.tar.gz');
    expect(await open(below)).toEqual([undefined]);
    expect(await open(below)).toEqual([undefined]);
  });
});
