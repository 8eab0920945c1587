import * as v from 'valibot';
import { leaf, resolve, section } from '../../options/schema.js';
import { readInteger, readName } from '../../options/validators.js';
import { VOID } from '../../store/invalidation/invalidation-log.js';
import { type StoredResponse, sizeOf } from '../../store/stored-response.js';
import { validUntil } from '../lookup/invalidated.js';
import { isFresh, secondsLeft } from '../lookup/reuse.js';
import { describeKey } from '../request/key.js';
import { joinUrl } from '../serve/cache-status.js';
import { computeAge } from '../serve/serve-stored.js';
import type { CacheState } from '../state.js';
import { encodedSizes } from '../storage/encoded-bodies.js';

/** Which entries `keys()` lists. With several conditions, all hold. */
export interface KeyListOptions {
  /** The most entries, 1 to 1,000. Default: `100`. */
  readonly limit?: number | undefined;
  /** The beginning of path and query, such as `'/api/products'`. Default: any. */
  readonly prefix?: string | undefined;
  /** The template of the route that made the response, such as `'/api/products/:id'`. Default: any. */
  readonly route?: string | undefined;
  /** A tag of the entry. Default: any. */
  readonly tag?: string | undefined;
}

/**
 * An entry of the memory tier, as plain data for JSON. Clients choose URLs and header values: escape them before you
 * show them in a page. Texts of more than 2,000 characters are cut, and end in `…`.
 */
export interface ListedKey {
  /** Scheme, host, path and query, as `purge({ url })` takes them; with `vary.host: false`, the host is `*`. */
  readonly url: string;
  /** The request headers that select this variant, with their values; `null` if the request did not have one. Credentials are `(hidden)`. */
  readonly variant: Readonly<Record<string, string | null>>;
  /** Whether it belongs to one partition, such as one user, whose name is not shown. */
  readonly partitioned: boolean;
  /** The template of the route that made it; `null` without one. */
  readonly route: string | null;
  readonly status: number;
  readonly state: 'fresh' | 'stale';
  /** Seconds. */
  readonly age: number;
  /** The freshness left; negative if it is stale. Seconds. */
  readonly ttl: number;
  /** The first 100. */
  readonly tags: readonly string[];
  /** Memory in bytes, with headers, tags and compressed forms. */
  readonly bytes: number;
  readonly bodyBytes: number;
  /** Sizes in bytes of the compressed forms, by coding. */
  readonly encodings: Readonly<Record<string, number>>;
  /** Whether it has served a request since it was stored. */
  readonly used: boolean;
}

/** The result of `keys()`. */
export interface KeyList {
  /** Entries that were used first; then those that were stored or used most recently. */
  readonly keys: readonly ListedKey[];
  /** Whether these are all: neither `limit` nor the 10,000 entries that one call looks at were reached. */
  readonly complete: boolean;
}

/** The result of `preview()`. */
export interface PurgePreview {
  /** Entries that match, and their memory in bytes. */
  readonly count: number;
  readonly bytes: number;
  /** Whether all entries were looked at: 10,000 at most. */
  readonly complete: boolean;
  /** The first 50 of them. */
  readonly keys: readonly ListedKey[];
}

/** The most entries that one call looks at, which takes some 10 ms. */
const MOST_SEEN = 10_000;
const MOST_TAGS = 100;
const LONGEST_TEXT = 2000;

const keyListSchema = section({
  limit: v.optional(leaf(readInteger(1, 1000)), 100),
  prefix: v.optional(leaf(readName)),
  route: v.optional(leaf(readName)),
  tag: v.optional(leaf(readName)),
});

/**
 * Lists entries of the memory tier. Counts no use and changes nothing.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every wrong option.
 */
export function listKeys(state: CacheState | false, options: KeyListOptions | undefined): KeyList {
  const { limit, prefix, route, tag } = resolve(keyListSchema, options, 'keys');
  const keys: ListedKey[] = [];
  if (!state) return { keys, complete: true };
  let seen = 0;
  for (const item of state.entries.store.items()) {
    if (++seen > MOST_SEEN) return { keys, complete: false };
    if (item.kind !== 'response') continue;
    if (prefix !== undefined && !item.url.startsWith(prefix)) continue;
    if (route !== undefined && item.template !== route) continue;
    if (tag !== undefined && !item.tags.includes(tag)) continue;
    const until = validUntil(state, item, item.url);
    // Purged: it only waits for its next lookup.
    if (until === VOID) continue;
    if (keys.length === limit) return { keys, complete: false };
    keys.push(listedKey(state, item, until));
  }
  return { keys, complete: true };
}

/** The entries of a preview that are shown. */
const MOST_PREVIEWED = 50;

/** Finds the entries that a purge would end. Counts no use and changes nothing. */
export function previewPurge(
  state: CacheState | false,
  matches: (entry: StoredResponse) => boolean,
): PurgePreview {
  const keys: ListedKey[] = [];
  let [seen, count, bytes] = [0, 0, 0];
  for (const item of state ? state.entries.store.items() : []) {
    if (++seen > MOST_SEEN) return { count, bytes, complete: false, keys };
    if (item.kind !== 'response' || !matches(item)) continue;
    const until = validUntil(state as CacheState, item, item.url);
    if (until === VOID) continue;
    count++;
    bytes += sizeOf(item.key, item);
    if (keys.length < MOST_PREVIEWED) keys.push(listedKey(state as CacheState, item, until));
  }
  return { count, bytes, complete: true, keys };
}

function listedKey(
  { clock, settings, entries }: CacheState,
  entry: StoredResponse,
  until: number,
): ListedKey {
  const { scheme, host, isPartitioned, variant } = describeKey(entry.key);
  const now = clock();
  const shownValue = (name: string, value: string | undefined) =>
    value === undefined ? null : settings.credentials.includes(name) ? '(hidden)' : cut(value);
  return {
    url: cut(joinUrl({ scheme, host }, entry.url)),
    variant: Object.fromEntries(variant.map(([name, value]) => [name, shownValue(name, value)])),
    partitioned: isPartitioned,
    route: entry.template ?? null,
    status: entry.status,
    state: isFresh(entry, until, now) ? 'fresh' : 'stale',
    age: computeAge(entry, now),
    ttl: secondsLeft(entry, until, now),
    tags: entry.tags.slice(0, MOST_TAGS).map(cut),
    bytes: sizeOf(entry.key, entry),
    bodyBytes: entry.body.length,
    encodings: encodedSizes(entry),
    used: entries.store.isUsed(entry.key),
  };
}

function cut(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT - 1)}…` : text;
}
