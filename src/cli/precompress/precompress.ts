import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, readFile, rm, stat, utimes } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { statFile, VARIANT_ENDINGS, type VariantCoding } from '../../assets/variants.js';
import { messageOf } from '../../runtime/report-fault.js';
import { runLimited } from '../../warming/run-limited.js';
import { FULL_ENCODERS } from './encode.js';
import { findSources, type PrecompressFailure, type SourceFile } from './find-sources.js';
import { PrecompressRecord, type RecordedSource, writeAtomically } from './record.js';

/** How a folder is precompressed. */
export interface PrecompressSettings {
  readonly folder: string;
  readonly codings: readonly VariantCoding[];
  /** Smaller files get no variants. */
  readonly leastBytes: number;
  /** A variant must be smaller than its source by this share. */
  readonly leastGain: number;
  /** Encodes unchanged files again, and replaces variants that others have made. */
  readonly isForced: boolean;
  /** No further file is begun after its abort. */
  readonly signal?: AbortSignal;
  /** Is called after each file. Bytes of sources. */
  readonly onProgress?: (doneBytes: number, allBytes: number) => void;
}

/** A source, after the run. Sizes are in bytes. */
export interface PrecompressedSource {
  readonly path: string;
  readonly size: number;
  /** The sizes of its variants, made now or before; `null` for one that gains too little. */
  readonly variants: Readonly<Partial<Record<VariantCoding, number | null>>>;
  /** Whether its variants were already there. */
  readonly isUnchanged: boolean;
}

/** The result of a run. */
export interface PrecompressResult {
  readonly sources: readonly PrecompressedSource[];
  /** Variants whose source is gone, has become too small, or no longer gains enough. */
  readonly removed: number;
  /** Files that have the name of a variant and that this command did not make. They stay as they are. */
  readonly foreign: readonly string[];
  readonly failures: readonly PrecompressFailure[];
}

/** Setting a time rounds it down by less than a microsecond; a variant must not be older than its source. Seconds. */
const ROUNDING_SECONDS = 1e-6;

/**
 * Makes the variants of the files of a folder: only those that are missing or whose source has changed.
 *
 * @throws (rejects) what the file system reports about the folder. Faults of single files are in the result.
 */
export async function precompress(settings: PrecompressSettings): Promise<PrecompressResult> {
  const record = await PrecompressRecord.read(settings.folder);
  const found = await findSources(settings.folder, settings.leastBytes);
  return new PrecompressRun(settings, record, found.sources, found.failures).run();
}

/** A file that has the name of a variant, and that is not in the record. */
interface ForeignVariant {
  readonly name: string;
  readonly size: number;
  readonly coding: VariantCoding;
  readonly source: string;
}

class PrecompressRun {
  readonly #settings: PrecompressSettings;
  readonly #record: PrecompressRecord;
  readonly #sources: readonly SourceFile[];
  readonly #done: PrecompressedSource[] = [];
  #foreign: ForeignVariant[] = [];
  readonly #failures: PrecompressFailure[];
  #removed = 0;

  constructor(
    settings: PrecompressSettings,
    record: PrecompressRecord,
    sources: readonly SourceFile[],
    failures: readonly PrecompressFailure[],
  ) {
    this.#settings = settings;
    this.#record = record;
    this.#sources = sources;
    this.#failures = [...failures];
  }

  async run(): Promise<PrecompressResult> {
    const { signal, onProgress } = this.#settings;
    const allBytes = this.#sources.reduce((sum, { stats }) => sum + stats.size, 0);
    let doneBytes = 0;
    try {
      await this.#removeOrphans();
      onProgress?.(0, allBytes);
      await runLimited(this.#sources, availableParallelism(), signal, async (source) => {
        await this.#precompressSource(source);
        doneBytes += source.stats.size;
        onProgress?.(doneBytes, allBytes);
      });
    } finally {
      await this.#recogniseForeign();
      if (this.#record.sources.size > 0 || this.#removed > 0) await this.#record.write();
    }
    const sources = this.#done.sort((a, b) => (a.path < b.path ? -1 : 1));
    return {
      sources,
      removed: this.#removed,
      foreign: this.#foreign.map(({ name }) => name).sort(),
      failures: this.#failures,
    };
  }

  async #precompressSource(source: SourceFile): Promise<void> {
    try {
      const before = this.#record.sources.get(source.path);
      const isSame = before && before.size === source.stats.size && before.mtimeMs === source.stats.mtimeMs;
      const missing = isSame ? await this.#missingCodings(source, before) : this.#settings.codings;
      if (isSame && before.hash !== '' && missing.length === 0 && !this.#settings.isForced) {
        this.#done.push({
          path: source.path,
          size: before.size,
          variants: before.variants,
          isUnchanged: true,
        });
      } else await this.#encodeSource(source, before);
    } catch (error) {
      this.#failures.push({ path: source.path, message: messageOf(error) });
    }
  }

  async #encodeSource(source: SourceFile, before: RecordedSource | undefined): Promise<void> {
    const { folder, isForced } = this.#settings;
    const body = await readFile(join(folder, source.path));
    const hash = createHash('sha256').update(body).digest('hex');
    const isSameContent = before?.hash === hash && !isForced;
    const kept = isSameContent ? await this.#keepVariants(source, before) : {};
    if (before && !isSameContent) await this.#removeVariants(source.path, this.#otherVariants(before));
    const { size, mtimeMs } = source.stats;
    const variants: Partial<Record<VariantCoding, number | null>> = { ...kept };
    const recorded = { size, mtimeMs, hash, variants };
    let made = 0;
    // All of them, so that none is still being written when an error ends the run.
    const results = await Promise.allSettled(
      this.#settings.codings.map(async (coding) => {
        if (kept[coding] !== undefined) return;
        const announce = (size: number | null) =>
          this.#record.announce(source.path, { ...recorded, variants: { [coding]: size } });
        const size = await this.#encodeVariant(source, body, coding, before, announce);
        if (size !== undefined) {
          variants[coding] = size;
          made++;
        }
      }),
    );
    const failed = results.find((result) => result.status === 'rejected');
    // A variant of older content may be left where its coding has failed: it is ours, and not valid.
    const isMixed = failed && before && !isSameContent;
    this.#record.sources.set(
      source.path,
      isMixed ? { ...recorded, hash: '', variants: { ...before.variants, ...variants } } : recorded,
    );
    if (failed) throw failed.reason;
    this.#done.push({ path: source.path, size, variants, isUnchanged: made === 0 });
  }

  /** @returns its size, `null` if it gains too little, `undefined` if a file of others has its name. */
  async #encodeVariant(
    { path, stats }: SourceFile,
    body: Buffer,
    coding: VariantCoding,
    before: RecordedSource | undefined,
    announce: (size: number | null) => Promise<void>,
  ): Promise<number | null | undefined> {
    const target = this.#pathOf(path, coding);
    const present = await statFile(target);
    const isOurs = typeof before?.variants[coding] === 'number' && before.variants[coding] === present?.size;
    if (present && !isOurs && !this.#settings.isForced) {
      const name = path + VARIANT_ENDINGS[coding];
      this.#foreign.push({ name, size: present.size, coding, source: path });
      return undefined;
    }
    const encoded = await FULL_ENCODERS[coding]!(body);
    if (encoded.length > body.length * (1 - this.#settings.leastGain)) {
      if (present && isOurs) await this.#remove(target);
      await announce(null);
      return null;
    }
    await writeAtomically(target, encoded, stats.mode & 0o777, async (draft) => {
      // The mask of this process may have taken rights away that the server of the files needs.
      await chmod(draft, stats.mode & 0o777);
      await setTimeOf(draft, stats);
      await this.#requireUnchanged(path, stats);
      await announce(encoded.length);
    });
    return encoded.length;
  }

  /** Another run in the same folder may have made them meanwhile, from the same content. */
  async #recogniseForeign(): Promise<void> {
    if (this.#foreign.length === 0) return;
    const { sources } = await PrecompressRecord.read(this.#settings.folder);
    this.#foreign = this.#foreign.filter(({ source, coding, size }) => {
      const [own, other] = [this.#record.sources.get(source), sources.get(source)];
      if (!own || other?.hash !== own.hash || other.variants[coding] !== size) return true;
      const variants = own.variants as Partial<Record<VariantCoding, number | null>>;
      variants[coding] = size;
      return false;
    });
  }

  /** The content is the same and only the time has changed, as after a new build: variants get the new time. */
  async #keepVariants(
    source: SourceFile,
    before: RecordedSource,
  ): Promise<Partial<Record<VariantCoding, number | null>>> {
    const missing = new Set(await this.#missingCodings(source, before));
    const kept: Partial<Record<VariantCoding, number | null>> = {};
    for (const [coding, size] of Object.entries(before.variants) as [VariantCoding, number | null][]) {
      if (missing.has(coding)) continue;
      // Another user may own the file: then a new one takes its place.
      if (size === null || (await trySetTime(this.#pathOf(source.path, coding), source.stats))) {
        kept[coding] = size;
      }
    }
    return kept;
  }

  /** Codings that the record does not list, or whose variant is not as the record says. */
  async #missingCodings(source: SourceFile, { variants }: RecordedSource): Promise<VariantCoding[]> {
    const codings = new Set([...this.#settings.codings, ...(Object.keys(variants) as VariantCoding[])]);
    const missing: VariantCoding[] = [];
    for (const coding of codings) {
      const size = variants[coding];
      const present =
        typeof size === 'number' ? await statFile(this.#pathOf(source.path, coding)) : undefined;
      if (size === undefined || (size !== null && present?.size !== size)) missing.push(coding);
    }
    return missing;
  }

  /** Variants of an older content in codings that are not made now. */
  #otherVariants({ variants }: RecordedSource): [VariantCoding, number | null][] {
    const entries = Object.entries(variants) as [VariantCoding, number | null][];
    return entries.filter(([coding]) => !this.#settings.codings.includes(coding));
  }

  /** Removes the variants of sources that are gone, or that get none any more. */
  async #removeOrphans(): Promise<void> {
    const paths = new Set(this.#sources.map(({ path }) => path));
    const unseen = this.#failures.map(({ path }) => path);
    for (const [path, { variants }] of this.#record.sources) {
      if (paths.has(path) || unseen.some((each) => path === each || path.startsWith(`${each}/`))) continue;
      await this.#removeVariants(path, Object.entries(variants) as [VariantCoding, number | null][]);
      this.#record.sources.delete(path);
    }
  }

  /** Only those that have the recorded size: another file may have taken the name. */
  async #removeVariants(path: string, variants: readonly [VariantCoding, number | null][]): Promise<void> {
    for (const [coding, size] of variants) {
      const target = this.#pathOf(path, coding);
      if (size !== null && (await statFile(target))?.size === size) await this.#remove(target);
    }
  }

  async #remove(target: string): Promise<void> {
    await rm(target, { force: true });
    this.#removed++;
  }

  /** A build that still runs may replace the source while its old content is encoded. */
  async #requireUnchanged(path: string, { size, mtimeMs }: Stats): Promise<void> {
    const now = await stat(join(this.#settings.folder, path));
    if (now.size !== size || now.mtimeMs !== mtimeMs)
      throw new Error('it changed meanwhile; run the command again');
  }

  #pathOf(path: string, coding: VariantCoding): string {
    return join(this.#settings.folder, path) + VARIANT_ENDINGS[coding];
  }
}

/** A variant has the time of its source: caches and `rsync` compare it, and it must not be older. */
async function setTimeOf(path: string, { mtimeMs }: Stats): Promise<void> {
  const seconds = mtimeMs / 1000 + ROUNDING_SECONDS;
  await utimes(path, seconds, seconds);
}

async function trySetTime(path: string, stats: Stats): Promise<boolean> {
  try {
    await setTimeOf(path, stats);
    return true;
  } catch {
    return false;
  }
}
