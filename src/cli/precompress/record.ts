import { randomUUID } from 'node:crypto';
import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { VariantCoding } from '../../assets/variants.js';
import { isPlainObject } from '../../options/format-value.js';
import { ENCODER_VERSION } from './encode.js';

/** A dotfile, so that no server of static files sends it. */
export const RECORD_NAME = '.hotpath-precompress.json';

/** Lines about the variants of a run that has not written its record yet. */
const JOURNAL_NAME = '.hotpath-precompress.journal';

/** A source in the record, with the sizes of its variants in bytes; `null` for one that gains too little. */
export interface RecordedSource {
  readonly size: number;
  readonly mtimeMs: number;
  /** SHA-256 of its content. */
  readonly hash: string;
  readonly variants: Readonly<Partial<Record<VariantCoding, number | null>>>;
}

/**
 * The variants that this command has made in a folder, by the path of their source. It tells them from files of others, and
 * which sources have changed.
 */
export class PrecompressRecord {
  readonly sources: Map<string, RecordedSource>;
  readonly #folder: string;

  private constructor(folder: string, sources: Map<string, RecordedSource>) {
    this.#folder = folder;
    this.sources = sources;
  }

  /**
   * Reads the record of a folder, and what a run that was killed, or that still runs, has added to the journal. A missing
   * or broken record is empty: then all variants count as files of others.
   */
  static async read(folder: string): Promise<PrecompressRecord> {
    const sources = readSources(parseJson(await readOrEmpty(join(folder, RECORD_NAME))));
    for (const line of (await readOrEmpty(join(folder, JOURNAL_NAME))).split('\n')) {
      const added = readSources(parseJson(line));
      for (const [path, source] of added) sources.set(path, merge(sources.get(path), source));
    }
    return new PrecompressRecord(folder, sources);
  }

  /** Adds a variant to the journal, before it gets its name: after a kill at any time, the next run knows it. */
  async announce(path: string, source: RecordedSource): Promise<void> {
    const line = JSON.stringify({ encoder: ENCODER_VERSION, sources: { [path]: source } });
    await appendFile(join(this.#folder, JOURNAL_NAME), `${line}\n`);
  }

  async write(): Promise<void> {
    const sources = Object.fromEntries([...this.sources].sort(([a], [b]) => (a < b ? -1 : 1)));
    const content = { note: 'Written by `hotpath precompress`.', encoder: ENCODER_VERSION, sources };
    await writeAtomically(join(this.#folder, RECORD_NAME), `${JSON.stringify(content, null, 1)}\n`, 0o644);
    await rm(join(this.#folder, JOURNAL_NAME), { force: true });
  }
}

/** A later content of the source makes the other variants those of an older one. They are still ours, but not valid. */
function merge(before: RecordedSource | undefined, added: RecordedSource): RecordedSource {
  if (!before) return added;
  return {
    ...added,
    hash: before.hash === added.hash ? added.hash : '',
    variants: { ...before.variants, ...added.variants },
  };
}

async function readOrEmpty(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

/** The last line of a journal may be incomplete. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The beginning of the names of drafts, which are renamed when they are complete. */
export const DRAFT_PREFIX = '.hotpath-draft-';

/**
 * Writes a file so that nobody reads a part of it: under another name in the same folder, then renamed.
 *
 * @param finish is called with the path of the draft, when it is written.
 */
export async function writeAtomically(
  path: string,
  content: string | Uint8Array,
  mode: number,
  finish?: (draft: string) => Promise<void>,
): Promise<void> {
  const draft = join(path, '..', `${DRAFT_PREFIX}${randomUUID()}`);
  try {
    await writeFile(draft, content, { mode, flag: 'wx' });
    await finish?.(draft);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

function readSources(content: unknown): Map<string, RecordedSource> {
  const sources = new Map<string, RecordedSource>();
  if (!isPlainObject(content) || !isPlainObject(content.sources)) return sources;
  const isCurrent = content.encoder === ENCODER_VERSION;
  for (const [path, source] of Object.entries(content.sources)) {
    if (!isRecordedSource(source) || !isBelow(path)) continue;
    // With other parameters the variants are still ours, but the source must be encoded again.
    sources.set(path, isCurrent ? source : { ...source, hash: '' });
  }
  return sources;
}

/** The record may have been edited: files are removed by these paths, so none may lead out of the folder. */
function isBelow(path: string): boolean {
  return (
    path !== '' &&
    // Elsewhere it is a part of a name.
    !(sep === '\\' && path.includes('\\')) &&
    path.split('/').every((part) => part !== '' && part !== '..' && part !== '.')
  );
}

function isRecordedSource(value: unknown): value is RecordedSource & object {
  return (
    isPlainObject(value) &&
    typeof value.size === 'number' &&
    typeof value.mtimeMs === 'number' &&
    typeof value.hash === 'string' &&
    isPlainObject(value.variants) &&
    Object.values(value.variants).every((size) => size === null || typeof size === 'number')
  );
}
