import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { describeKey } from '../cache/request/key.js';
import type { WarmTarget } from '../cache/revalidate/warm-requests.js';
import type { CacheState } from '../cache/state.js';
import { validateHeaderText } from '../options/validators.js';
import type { WarmingTurns } from '../store/redis/warming-turns.js';
import { isUrlToWarm, targetsOf } from './targets.js';

/** URLs that are remembered. */
const MOST_REMEMBERED = 100;

/** Entries of one URL that are remembered: hosts and variants. */
const MOST_OF_URL = 4;

/** A longer file is not ours. Bytes. */
const LONGEST_FILE = 1024 ** 2;

/** How long Redis remembers them. Milliseconds. */
const REMEMBER_MS = 7 * 86_400_000;

/** A URL and its request headers, as they are remembered. */
interface RememberedKey {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Counts of the URLs that were served most often: path and query, the most wanted first. */
export type CountedUrls = (most: number) => readonly { readonly url: string }[];

/**
 * The requests that were served most often from the cache, in this process and before. Telemetry counts paths; the
 * entries in memory say by which origins and headers they were requested.
 */
export class HotKeys {
  readonly #state: CacheState;
  readonly #counted: CountedUrls;
  readonly #store: WarmingTurns | undefined;
  /** Where they are remembered without Redis. */
  readonly file: string | undefined;
  /** Of the previous process, and of entries that have left the memory since. By path and query. */
  #remembered = new Map<string, readonly RememberedKey[]>();
  #isLoaded = false;
  #saving: Promise<void> | undefined;

  constructor(
    state: CacheState,
    counted: CountedUrls,
    store: WarmingTurns | undefined,
    file: string | undefined,
  ) {
    this.#state = state;
    this.#counted = counted;
    this.#store = store;
    this.file = file;
  }

  /** The hottest requests. Without a usable list there are none. */
  async list(most: number): Promise<WarmTarget[]> {
    await this.#load();
    this.#update();
    return [...this.#remembered.values()]
      .slice(0, most)
      .flat()
      .flatMap(({ url, headers = {} }) => targetsOf(url, [], headers));
  }

  /** Writes the list. One at a time; the next one has all that this one leaves out. @throws (rejects) what the file system throws. */
  save(): Promise<void> {
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  async #save(): Promise<void> {
    await this.#load();
    this.#update();
    const text = JSON.stringify({ version: 1, keys: [...this.#remembered.values()].flat() });
    if (this.#store) await this.#store.writeTopKeys(text, REMEMBER_MS);
    else if (this.file !== undefined) await replaceFile(this.file, text);
  }

  async #load(): Promise<void> {
    if (this.#isLoaded) return;
    const text = this.#store ? await this.#store.readTopKeys() : await readShortFile(this.file);
    // Redis has not answered, so the next call tries again.
    if (text === undefined || this.#isLoaded) return;
    this.#isLoaded = true;
    for (const key of readKeys(text)) {
      const path = new URL(key.url);
      const name = path.pathname + path.search;
      this.#remembered.set(name, [...(this.#remembered.get(name) ?? []), key].slice(0, MOST_OF_URL));
    }
  }

  /** Puts the URLs of this process first. Those of the previous one follow, as far as there is room. */
  #update(): void {
    const counted = this.#counted(MOST_REMEMBERED);
    if (counted.length === 0) return;
    const stored = this.#storedKeys(new Set(counted.map(({ url }) => url)));
    const next = new Map<string, readonly RememberedKey[]>();
    for (const { url } of counted) {
      const keys = stored.get(url) ?? this.#remembered.get(url);
      if (keys) next.set(url, keys);
    }
    for (const [url, keys] of this.#remembered) {
      if (next.size >= MOST_REMEMBERED) break;
      if (!next.has(url)) next.set(url, keys);
    }
    this.#remembered = next;
  }

  #storedKeys(urls: ReadonlySet<string>): Map<string, RememberedKey[]> {
    const { entries, settings } = this.#state;
    const found = new Map<string, RememberedKey[]>();
    for (const item of entries.store.items()) {
      if (item.kind !== 'response' || !urls.has(item.url)) continue;
      const { scheme, host, isPartitioned, isSelected, variant } = describeKey(item.key);
      const isPersonal = variant.some(([name]) => settings.credentials.includes(name));
      const url = `${scheme}://${host}${item.url}`;
      if (isPartitioned || isSelected || isPersonal || !isUrlToWarm(url)) continue;
      const headers = Object.fromEntries(
        variant.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      );
      const keys = found.get(item.url) ?? [];
      if (keys.length < MOST_OF_URL) keys.push({ url, headers });
      found.set(item.url, keys);
    }
    return found;
  }
}

/** The usable members of a list; none of a text that is no such list. */
function readKeys(text: string): RememberedKey[] {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    return Array.isArray(keys) ? keys.filter(isRemembered).slice(0, MOST_REMEMBERED * MOST_OF_URL) : [];
  } catch {
    return [];
  }
}

function isRemembered(value: unknown): value is RememberedKey {
  const { url, headers = {} } = (value ?? {}) as Partial<RememberedKey>;
  return (
    isUrlToWarm(url) &&
    !url.startsWith('/') &&
    typeof headers === 'object' &&
    headers !== null &&
    Object.entries(headers).every(
      ([name, text]) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && 'value' in validateHeaderText(text),
    )
  );
}

/** @returns an empty text for a file that is absent, unreadable or too long. */
async function readShortFile(file: string | undefined): Promise<string> {
  if (file === undefined) return '';
  try {
    const { size } = await stat(file);
    return size > LONGEST_FILE ? '' : await readFile(file, 'utf8');
  } catch {
    return '';
  }
}

/** A process that ends here leaves the old file or the new one, never a part. */
async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomUUID()}.tmp`;
  try {
    // Queries may hold secrets.
    await writeFile(draft, text, { mode: 0o600 });
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
