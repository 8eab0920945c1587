import type { Dirent, Stats } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import compressible from 'compressible';
import { lookup } from 'mime-types';
import { statFile } from '../../assets/variants.js';
import { messageOf } from '../../runtime/report-fault.js';
import { DRAFT_PREFIX } from './record.js';

/** A file that may get variants. */
export interface SourceFile {
  /** Its path below the folder, with slashes. */
  readonly path: string;
  readonly stats: Stats;
}

/** Drafts of a run that was killed. Those of another run are younger. Milliseconds. */
const LEFT_OVER_AFTER_MS = 600_000;

/** A file or folder that could not be looked at. */
export interface PrecompressFailure {
  /** Its path below the folder, with slashes. */
  readonly path: string;
  readonly message: string;
}

/**
 * The files below a folder whose type can be compressed, the largest first, so that no large one is encoded alone at the
 * end. Files and folders that begin with a dot are left out, and so are links to folders.
 *
 * @param leastBytes smaller files are left out.
 * @throws (rejects) what the file system reports about the folder itself.
 */
export async function findSources(
  folder: string,
  leastBytes: number,
): Promise<{ sources: SourceFile[]; failures: PrecompressFailure[] }> {
  const [sources, failures]: [SourceFile[], PrecompressFailure[]] = [[], []];
  const visit = async (below: string): Promise<void> => {
    const entries = await readdir(join(folder, below), { withFileTypes: true }).catch((error: Error) => {
      if (below === '') throw error;
      return failOrSkip(below, error);
    });
    for (const entry of entries) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.name.startsWith('.')) await removeLeftOver(folder, path, entry);
      else if (entry.isDirectory()) await visit(path);
      else if (isCompressibleName(entry.name)) {
        const stats = await stat(join(folder, path)).catch((error: Error) => void failOrSkip(path, error));
        if (stats?.isFile() && stats.size >= leastBytes) sources.push({ path, stats });
      }
    }
  };
  const failOrSkip = (path: string, error: Error): [] => {
    if (!isAbsent(error)) failures.push({ path, message: messageOf(error) });
    return [];
  };
  await visit('');
  return { sources: sources.sort((a, b) => b.stats.size - a.stats.size), failures };
}

/** Whether the type of a file, by its extension, is one that compression makes smaller. */
export function isCompressibleName(name: string): boolean {
  const type = lookup(name);
  return type !== false && compressible(type) === true;
}

/** It was removed meanwhile, its name is no text, or it is a link without a target. */
function isAbsent(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOENT' || error.code === 'ELOOP';
}

async function removeLeftOver(folder: string, path: string, entry: Dirent): Promise<void> {
  if (!entry.isFile() || !entry.name.startsWith(DRAFT_PREFIX)) return;
  const draft = join(folder, path);
  const stats = await statFile(draft);
  if (stats && Date.now() - stats.mtimeMs > LEFT_OVER_AFTER_MS) await rm(draft, { force: true });
}
