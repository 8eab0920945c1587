import { promisify } from 'node:util';
import { type BrotliOptions, brotliCompress, constants, deflate, gzip, type ZlibOptions } from 'node:zlib';
import type { EncodingEffort } from '../../exchange/encoded-body.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { copyToOwnMemory } from '../../runtime/owned-memory.js';
import { ZSTD, type ZstdOptions, zstdModule } from '../../runtime/zstd.js';
import { type InvalidationLog, VOID } from '../../store/invalidation/invalidation-log.js';
import type { MemoryStore } from '../../store/memory/memory-store.js';
import type { EncodedForm, StoredResponse } from '../../store/stored-response.js';
import { type EncodeJob, EncodeQueue, type QueueBounds } from './encode-queue.js';

/** Number of requests after which a form is upgraded. */
const POPULAR = 16;
/** Larger bodies are not upgraded: Brotli 11 takes seconds per megabyte. Bytes. */
const MOST_UPGRADED = 256 * 1024;
const STRONGEST = constants.BROTLI_MAX_QUALITY;

/** Statistics of the encoded bodies of a cache since it was created. */
export interface EncodingStats {
  /** Encoded forms that were made and kept. */
  readonly made: number;
  /** Bodies that became too little smaller in a coding; they are sent unencoded. */
  readonly useless: number;
  /** Forms that were replaced by a smaller one in idle time. */
  readonly upgraded: number;
  /** Forms that were made but not kept: the entry was purged, replaced or evicted meanwhile, or there was no room. */
  readonly discarded: number;
  /** Jobs that were dropped because too many waited. */
  readonly dropped: number;
  /** Waiting jobs. */
  readonly waiting: number;
}

/** The result of `upgradeEncodings()`. */
export interface EncodingUpgrades {
  /** Entries whose Brotli form will be replaced by a smaller one. */
  readonly queued: number;
  /** Entries whose Brotli form is the smallest already, or too large to try. */
  readonly strongest: number;
}

const brotliOf = promisify<Buffer, BrotliOptions, Buffer>(brotliCompress);
const gzipOf = promisify<Buffer, ZlibOptions, Buffer>(gzip);
const deflateOf = promisify<Buffer, ZlibOptions, Buffer>(deflate);
const zstdOf = zstdModule && promisify<Buffer, ZstdOptions, Buffer>(zstdModule.zstdCompress);

type Encode = (body: Buffer, effort: EncodingEffort) => Promise<Buffer>;

/** The encoders for the codings of the compression section, on the thread pool of `node:zlib`. */
const encoders: Readonly<Partial<Record<ContentEncoding, Encode>>> = {
  br: (body, { brotliQuality }) => brotliOf(body, { params: brotliParams(body.length, brotliQuality) }),
  gzip: (body, { level }) => gzipOf(body, { level }),
  deflate: (body, { level }) => deflateOf(body, { level }),
  ...(zstdOf && {
    zstd: (body, { zstdLevel }) => zstdOf(body, { params: zstdParams(body.length, zstdLevel) }),
  }),
};

/** Chooses a window no larger than the body, and within the limit of browsers. */
function zstdParams(length: number, level: number): Record<number, number> {
  const window = Math.min(
    Math.max(Math.ceil(Math.log2(length + 1)), ZSTD.leastWindowBits),
    ZSTD.mostWindowBits,
  );
  return { [ZSTD.compressionLevel]: level, [ZSTD.windowLog]: window };
}

/** Chooses a window no larger than the body, because Brotli allocates memory in proportion to the window. */
function brotliParams(length: number, quality: number): Record<number, number> {
  const window = Math.ceil(Math.log2(length + 16)); // RFC 7932 §9.1: 16 bytes less than the power of two
  return {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_SIZE_HINT]: length,
    [constants.BROTLI_PARAM_LGWIN]: Math.min(
      Math.max(window, constants.BROTLI_MIN_WINDOW_BITS),
      constants.BROTLI_DEFAULT_WINDOW,
    ),
  };
}

function canUpgrade({ body }: StoredResponse, { brotliQuality }: EncodingEffort): boolean {
  return brotliQuality < STRONGEST && body.length <= MOST_UPGRADED;
}

/** The sizes of the encoded forms of an entry, by coding. Bytes. */
export function encodedSizes({ encoded }: StoredResponse): Record<string, number> {
  const forms = [...(encoded ?? [])];
  return Object.fromEntries(forms.flatMap(([coding, { body }]) => (body ? [[coding, body.length]] : [])));
}

/**
 * The encoded forms of stored bodies. Each is made once, in the background, after the first request for it. It is kept
 * with the body, so that later requests need no compression.
 */
export class EncodedBodies {
  readonly #store: MemoryStore;
  readonly #log: InvalidationLog;
  readonly #fault: (error: unknown, where: string) => void;
  readonly #queue: EncodeQueue;
  readonly #counts = { made: 0, useless: 0, upgraded: 0, discarded: 0, dropped: 0 };
  #isClosed = false;
  /** That of the latest request. */
  #effort: EncodingEffort | undefined;

  constructor(
    store: MemoryStore,
    log: InvalidationLog,
    fault: (error: unknown, where: string) => void,
    bounds?: QueueBounds,
  ) {
    this.#store = store;
    this.#log = log;
    this.#fault = fault;
    this.#queue = new EncodeQueue((job) => this.#run(job), bounds);
  }

  /**
   * The entry's body in a coding, for a request that is about to be served with it.
   *
   * @returns `null` if it gains too little; `undefined` if there is none yet: a job is queued, if there is room.
   */
  find(entry: StoredResponse, coding: string, effort: EncodingEffort): Buffer | null | undefined {
    if (!Object.hasOwn(encoders, coding)) return undefined;
    this.#effort = effort;
    const form = entry.encoded?.get(coding);
    if (!form) {
      this.#queueJob(entry, coding, effort);
      return undefined;
    }
    if (form.body) this.#countUse(form, entry, coding, effort);
    return form.body;
  }

  /** Queues the upgrade of each Brotli form that was made, as long as there is room. */
  upgradeAll(): EncodingUpgrades {
    let [queued, strongest] = [0, 0];
    for (const item of this.#store.items()) {
      const form = item.kind === 'response' ? item.encoded?.get('br') : undefined;
      if (item.kind !== 'response' || !form?.body || !this.#effort) continue;
      const before = form.upgraded;
      this.#upgrade(form, item, this.#effort);
      if (form.upgraded && !before) queued++;
      else if (form.upgraded || !canUpgrade(item, this.#effort)) strongest++;
    }
    return { queued, strongest };
  }

  /** Resolves when the forms of an entry that were requested are made, or are not going to be. */
  whenMade(key: string): Promise<void> {
    return this.#queue.whenDone(key);
  }

  get stats(): EncodingStats {
    return { ...this.#counts, waiting: this.#queue.size };
  }

  /** Stops encoding. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#queue.close();
  }

  #queueJob(entry: StoredResponse, coding: string, effort: EncodingEffort): void {
    // A waiting request may be served with an entry that is not in memory.
    if (this.#isClosed || this.#store.peek(entry.key) !== entry) return;
    if (!this.#queue.add({ key: entry.key, coding, effort, upgrade: false })) {
      this.#counts.dropped++;
      return;
    }
    entry.encoded ??= new Map();
    entry.encoded.set(coding, { body: undefined, hits: 0, upgraded: false });
  }

  #countUse(form: EncodedForm, entry: StoredResponse, coding: string, effort: EncodingEffort): void {
    form.hits++;
    if (form.hits >= POPULAR && coding === 'br') this.#upgrade(form, entry, effort);
  }

  #upgrade(form: EncodedForm, entry: StoredResponse, effort: EncodingEffort): void {
    if (form.upgraded || !canUpgrade(entry, effort)) return;
    form.upgraded = this.#queue.add({
      key: entry.key,
      coding: 'br',
      effort: { ...effort, brotliQuality: STRONGEST },
      upgrade: true,
    });
  }

  async #run({ key, coding, effort, upgrade }: EncodeJob): Promise<void> {
    try {
      const entry = this.#current(key);
      const form = entry?.encoded?.get(coding);
      // The entry is gone, or the job of its replacement ran first.
      if (!entry || !form || upgrade !== Boolean(form.body) || form.body === null) return;
      const made = await this.#encode(entry.body, coding as ContentEncoding, effort);
      // If another response was stored meanwhile, these bytes are not its own.
      if (this.#isClosed || this.#current(key)?.encoded?.get(coding) !== form) this.#counts.discarded++;
      else if (upgrade) this.#replace(key, form, made);
      else this.#keep(key, form, made, entry.body.length * (1 - effort.minimumGain));
    } catch (error) {
      this.#fault(error, 'encoding');
    }
  }

  /** @returns `null` if it failed, which is reported. The same body would fail again. */
  async #encode(body: Buffer, coding: ContentEncoding, effort: EncodingEffort): Promise<Buffer | null> {
    try {
      // The buffer from zlib may be a small part of its 16 kB allocation.
      return copyToOwnMemory(await encoders[coding]!(body, effort));
    } catch (error) {
      this.#fault(error, 'encoding');
      return null;
    }
  }

  #keep(key: string, form: EncodedForm, made: Buffer | null, most: number): void {
    const isWorth = made !== null && made.length <= most;
    form.body = isWorth ? made : null;
    if (!isWorth) this.#counts.useless++;
    else if (this.#store.resize(key)) this.#counts.made++;
    else {
      form.body = null;
      this.#counts.discarded++;
    }
  }

  #replace(key: string, form: EncodedForm, made: Buffer | null): void {
    if (!made || !form.body || made.length >= form.body.length) return;
    form.body = made;
    this.#counts.upgraded++;
    this.#store.resize(key);
  }

  /** The stored response of a key, unless a purge has invalidated it. */
  #current(key: string): StoredResponse | undefined {
    const item = this.#store.peek(key);
    return item?.kind === 'response' && this.#log.limit(item) !== VOID ? item : undefined;
  }
}
