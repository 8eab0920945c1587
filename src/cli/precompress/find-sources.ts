import type { Dirent, Stats } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import compressible from 'compressible';
import { lookup } from 'mime-types';
import { DRAFT_PREFIX } from './record.js';

/** A file that may get variants. */
export interface SourceFile {
  /** Its path below the folder, with slashes. */
  readonly path: string;
  readonly stats: Stats;
}

/** Drafts of a run that was killed. Those of another run are younger. Milliseconds. */
const LEFT_OVER_AFTER_MS = 600_000;

/**
 * The files below a folder whose type can be compressed, the largest first, so that no large one is encoded alone at the
 * end. Files and folders that begin with a dot are left out, and so are links to folders.
 *
 * @param leastBytes smaller files are left out.
 * @throws (rejects) what the file system reports about a folder.
 */
export async function findSources(folder: string, leastBytes: number): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.name.startsWith('.')) await removeLeftOver(folder, path, entry);
      else if (entry.isDirectory()) await visit(path);
      else if (isCompressibleName(entry.name)) {
        const stats = await statSource(join(folder, path));
        if (stats && stats.size >= leastBytes) found.push({ path, stats });
      }
    }
  };
  await visit('');
  return found.sort((a, b) => b.stats.size - a.stats.size);
}

/** Whether the type of a file, by its extension, is one that compression makes smaller. */
export function isCompressibleName(name: string): boolean {
  const type = lookup(name);
  return type !== false && compressible(type) === true;
}

/** `undefined` for a broken link, and for anything but a file. */
async function statSource(path: string): Promise<Stats | undefined> {
  try {
    const stats = await stat(path);
    return stats.isFile() ? stats : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function removeLeftOver(folder: string, path: string, entry: Dirent): Promise<void> {
  if (!entry.isFile() || !entry.name.startsWith(DRAFT_PREFIX)) return;
  const draft = join(folder, path);
  const stats = await statSource(draft);
  if (stats && Date.now() - stats.mtimeMs > LEFT_OVER_AFTER_MS) await rm(draft, { force: true });
}
