// Plain JavaScript, because `embedded-worker.js` imports it without the loader that runs the .ts files.
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { constants, gunzip, gzip } from 'node:zlib';

/**
 * Opens a PGlite with an empty cluster. PGlite needs several seconds to make one. So the first start of a version saves it
 * in `file`, and later starts load it. Without access to the file, each start makes its own.
 *
 * @param create opens a PGlite with the given options.
 */
export async function openCluster(file, create) {
  const saved = await readSaved(file);
  if (saved) {
    try {
      return await create({ loadDataDir: new Blob([saved]) });
    } catch {
      // PGlite cannot use it. The next one replaces it.
    }
  }
  const db = await create({});
  await save(file, db);
  return db;
}

/** @returns `undefined` where there is none, and for one that is damaged: its checksum is wrong. */
async function readSaved(file) {
  try {
    return await promisify(gunzip)(await readFile(file));
  } catch {
    return undefined;
  }
}

async function save(file, db) {
  // Processes that start together each write a file of their own.
  const part = `${file}.${randomUUID()}`;
  try {
    const files = await db.dumpDataDir('none');
    const content = new Uint8Array(await files.arrayBuffer());
    const packed = await promisify(gzip)(content, { level: constants.Z_BEST_SPEED });
    await mkdir(dirname(file), { recursive: true });
    await writeFile(part, packed);
    await rename(part, file);
  } catch {
    // PGlite cannot copy it, the folder may be read-only, or the disk full.
    await rm(part, { force: true }).catch(() => {});
  }
}
