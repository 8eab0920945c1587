import type { SearchVariance } from '../http/no-vary-search.js';
import { canonicalHost, canonicalTarget } from '../http/request-target.js';
import { bytesHeldBy } from '../runtime/owned-memory.js';
import { partAt } from './key-parts.js';

/** A header field; several lines of one name are an array. */
export type StoredField = readonly [name: string, value: string | readonly string[]];

/** What the invalidation log needs to know of anything that is stored. */
export interface Stamped {
  /** Position of the log before the computation began; the log may move it forward once it has checked. */
  stamp: number;
  /** When it was made, on the cache's clock in milliseconds: it counts while the log can't be read. */
  readonly storedAt?: number;
  readonly tags: readonly string[];
  /** Path and query, as the client sent them but for what the rule leaves out. */
  readonly url: string;
  readonly path: string;
  /** The host that it was made for, in its canonical spelling; absent where it has none. */
  readonly host?: string | undefined;
}

/** A stored body in one content coding. */
export interface EncodedForm {
  /** `undefined` while it is being made; `null` when it gains too little to be kept. */
  body: Buffer | null | undefined;
  /** Requests that it answered. */
  hits: number;
  /** The greatest effort was spent on it, or is about to be. */
  upgraded: boolean;
}

/** What whoever serves an entry has worked out of it for its next use. */
export interface Prepared {
  /** What it takes in memory. */
  readonly bytes: number;
}

/** What a response, or its rule, says of its use beyond its lifetime. Seconds. */
export interface Reuse {
  /** Never used unconfirmed (`no-cache`, RFC 9111 §5.2.2.4). */
  readonly alwaysValidate: boolean;
  /** Never used stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`: §5.2.2.2, §5.2.2.8, §5.2.2.10). */
  readonly mustRevalidate: boolean;
  /** RFC 5861 §3. */
  readonly staleWhileRevalidate: number;
  /** RFC 5861 §4. */
  readonly staleIfError: number;
}

/** A response as the app left it, but for its body. It also answers for URLs that it calls equivalent to its own. Times are those of the cache's clock, in milliseconds. */
export interface ResponseHead extends Stamped {
  /** Position of the log before the handler started; unlike `stamp`, it stays. */
  readonly since: number;
  /** Which queries it calls equivalent (No-Vary-Search). */
  readonly variance?: SearchVariance;
  /** The key it is stored under, and checked against when it is read. */
  readonly key: string;
  /** Request headers that it differs by, in lower case. */
  readonly vary: readonly string[];
  readonly status: number;
  readonly headers: readonly StoredField[];
  /** Names that an upstream middleware had set and the handler took away. */
  readonly removed: readonly string[];
  /** Of the handler; where it gives none, ours is made of the whole body. */
  readonly etag?: string;
  /** The handler gave the tag itself, so it can be asked whether it still holds. */
  readonly ownEtag: boolean;
  readonly lastModified?: string;
  /** `Date` of the response. */
  readonly date: string;
  readonly storedAt: number;
  /** Age when it was stored (RFC 9111 §4.2.3). Seconds. */
  readonly initialAge: number;
  readonly freshUntil: number;
  /** What may be done with it once it is stale. */
  readonly reuse: Reuse;
  /** The response itself said that any visitor may have it, even one with credentials (RFC 9111 §3.5). */
  readonly explicitlyShared: boolean;
  /** Pages of every origin may read it (CORS), or its key tells them apart. */
  readonly anyOrigin?: boolean;
  /** Others had given the response headers before ours: without them it is not what their visitor would get. */
  readonly upstream?: boolean;
  /** Template of the route that made it. */
  readonly template?: string;
}

/** A whole response. */
export interface StoredResponse extends ResponseHead {
  readonly kind: 'response';
  readonly body: Buffer;
  /** By coding; made of the body alone, so whatever replaces it with the same body takes them over. */
  encoded?: Map<string, EncodedForm>;
  /** Made of the entry as it stands: a copy that says something else has none. */
  prepared?: Prepared;
  readonly etag: string;
}

/** What a whole response has beyond its head. */
export type KeptItem = Pick<StoredResponse, 'body' | 'encoded' | 'etag'>;

/** Stands under a key whose responses differ by request headers: it names the headers. */
export interface VariantIndex {
  readonly kind: 'variants';
  /** Lower case, sorted: the union of what the responses named. */
  readonly names: readonly string[];
  /** Keys of the variants, oldest first. */
  readonly keys: readonly string[];
}

/** Stands beside the responses of a path: which differences between its queries mean nothing (No-Vary-Search). */
export interface VarianceNote {
  readonly kind: 'variance';
  readonly variance: SearchVariance;
  /** Differs from that of every earlier note of this cache. */
  readonly generation: number;
}

export type StoreItem = StoredResponse | VariantIndex | VarianceNote;

/** What instances share: a note would have to be of one generation for all of them. */
export type RedisItem = StoredResponse | VariantIndex;

/** One entry beyond its texts and its body: objects, the buffer's own, slots in maps and lists. Measured; bytes. */
const OVERHEAD = 600;

/** The same of a text in a list, such as a tag or the value of a header field; names of fields are shared. */
const OVERHEAD_OF_TEXT = 32;
const OVERHEAD_OF_FORM = 350;

/** Index of the host among the parts of a key, after scope, scheme and `Host`. */
const HOST_IN_KEY = 3;

/** The host that a response was made for, in its canonical spelling. */
export function hostOf({ key }: { readonly key: string }): string | undefined {
  const host = partAt(key, HOST_IN_KEY);
  return host === undefined ? undefined : canonicalHost(host);
}

/** The name of a URL in the invalidation log: that of a path, or of a path on one host. */
export function urlName(target: string, host = ''): string {
  // A path begins with a slash, and no host does.
  return host + canonicalTarget(target);
}

/** The same item with some things changed; `encoded` goes along, since it is the body's. */
export function copyItem<T extends StoreItem>(
  item: T,
  changes: Partial<Pick<StoredResponse, 'key' | 'url' | 'tags' | 'freshUntil'>> = {},
): T {
  // Not spread out: much of a compact response is no property of its own.
  return Object.assign(Object.create(Object.getPrototypeOf(item)), item, { prepared: undefined }, changes);
}

/**
 * What an item takes in memory: its body with the encoded forms, its texts, and the bookkeeping. What it shares with
 * others is counted as if it were its own. Bytes.
 */
export function sizeOf(key: string, item: StoreItem): number {
  const own = OVERHEAD + bytesOf(key);
  if (item.kind === 'variance') return own + bytesOfList([...item.variance.names]);
  if (item.kind === 'variants') return own + bytesOfList(item.names) + bytesOfList(item.keys);
  let bytes = own + bytesOf(item.url) + item.etag.length + bytesOfList(item.tags) + bytesHeldBy(item.body);
  bytes += item.prepared?.bytes ?? 0;
  for (const [, value] of item.headers) bytes += bytesOfLines(value);
  for (const form of item.encoded?.values() ?? [])
    bytes += OVERHEAD_OF_FORM + (form.body ? bytesHeldBy(form.body) : 0);
  return bytes;
}

/** Of a header field: Node lets nothing into one that is beyond Latin-1. */
function bytesOfLines(value: StoredField[1]): number {
  if (typeof value === 'string') return OVERHEAD_OF_TEXT + value.length;
  return value.reduce((bytes, line) => bytes + OVERHEAD_OF_TEXT + line.length, 0);
}

function bytesOfList(texts: readonly string[]): number {
  let bytes = texts.length * OVERHEAD_OF_TEXT;
  for (const text of texts) bytes += bytesOf(text);
  return bytes;
}

/** V8 takes one byte for each character, or two, where one of them is beyond Latin-1. */
function bytesOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? text.length * 2 : text.length;
}
