import { canonicalHost, canonicalTarget } from '../http/canonical-url.js';
import type { SearchVariance } from '../http/no-vary-search.js';
import { bytesHeldBy } from '../runtime/owned-memory.js';
import { partAt } from './key-parts.js';

/** A header field; several lines with one name are an array. */
export type StoredField = readonly [name: string, value: string | readonly string[]];

/** The properties of a stored item that the invalidation log checks. */
export interface Stamped {
  /** Log position from before the computation began. The log may move it forward after a check. */
  stamp: number;
  /**
   * Time of creation on the cache's clock, in milliseconds. It limits the use of the entry while the log
   * cannot be read.
   */
  readonly storedAt?: number;
  readonly tags: readonly string[];
  /** Path and query, as the client sent them, without parameters that the rule ignores; empty for a function's result. */
  readonly url: string;
  readonly path: string;
  /** The host of the request, in its canonical form; absent if it had none. */
  readonly host?: string | undefined;
}

/** A stored body in one content coding. */
export interface EncodedForm {
  /** `undefined` while it is being compressed; `null` if compression saves too little. */
  body: Buffer | null | undefined;
  /** Number of requests that it served. */
  hits: number;
  /** Whether it was, or is about to be, compressed with the highest quality. */
  upgraded: boolean;
}

/** Results that were computed while serving an entry, kept for its next use. */
export interface Prepared {
  /** Memory in bytes. */
  readonly bytes: number;
}

/** The conditions for reusing a stored response, from the response or its rule. Seconds. */
export interface Reuse {
  /** Must be revalidated before each use (`no-cache`, RFC 9111 §5.2.2.4). */
  readonly alwaysValidate: boolean;
  /**
   * Must not be used stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`: §5.2.2.2, §5.2.2.8,
   * §5.2.2.10).
   */
  readonly mustRevalidate: boolean;
  /** RFC 5861 §3. */
  readonly staleWhileRevalidate: number;
  /** RFC 5861 §4. */
  readonly staleIfError: number;
}

/**
 * A response as the app produced it, without its body. Times are in milliseconds on the cache's clock. With
 * `variance`, it also answers equivalent URLs.
 */
export interface ResponseHead extends Stamped {
  /** Log position from before the handler started. Unlike `stamp`, it never changes. */
  readonly since: number;
  /** The queries that the response declares equivalent (No-Vary-Search). */
  readonly variance?: SearchVariance | undefined;
  /** The key under which it is stored, compared when it is read. */
  readonly key: string;
  /** The request headers that select it, in lower case. */
  readonly vary: readonly string[];
  readonly status: number;
  readonly headers: readonly StoredField[];
  /** Headers of upstream middlewares that the handler removed. */
  readonly removed: readonly string[];
  /** The handler's tag, or else one that is generated from the whole body. */
  readonly etag?: string | undefined;
  /** Whether the handler set the tag, so that the handler can revalidate it. */
  readonly ownEtag: boolean;
  readonly lastModified?: string | undefined;
  /** `Date` of the response. */
  readonly date: string;
  readonly storedAt: number;
  /** Age when it was stored (RFC 9111 §4.2.3). Seconds. */
  readonly initialAge: number;
  readonly freshUntil: number;
  /** Conditions for its use when stale. */
  readonly reuse: Reuse;
  /** Whether the response itself allows use for requests with credentials (RFC 9111 §3.5). */
  readonly explicitlyShared: boolean;
  /** Whether pages of every origin may read it (CORS), or its key contains the origin. */
  readonly anyOrigin?: boolean | undefined;
  /**
   * Whether upstream middlewares set headers. The front door does not serve such an entry, because it does
   * not run them.
   */
  readonly upstream?: boolean | undefined;
  /** The time from the start of the handler to its headers. Microseconds. */
  readonly handlerMicros: number;
  /** Template of the route that produced it. */
  readonly template?: string | undefined;
}

/** A complete response. */
export interface StoredResponse extends ResponseHead {
  readonly kind: 'response';
  readonly body: Buffer;
  /**
   * Compressed bodies by coding. They depend only on the body, so a replacement with the same body keeps
   * them.
   */
  encoded?: Map<string, EncodedForm> | undefined;
  /** Derived from this entry, so a changed copy has none. */
  prepared?: Prepared | undefined;
  readonly etag: string;
}

/** The parts of a complete response that are not in its head. */
export type KeptItem = Pick<StoredResponse, 'body' | 'encoded' | 'etag'>;

/** Stored under a key whose responses differ by request headers: it lists the headers. */
export interface VariantIndex {
  readonly kind: 'variants';
  /** In lower case, sorted: the union of the headers in `Vary` of the responses. */
  readonly names: readonly string[];
  /** Keys of the variants, oldest first. */
  readonly keys: readonly string[];
}

/** Stored for a path: which differences between its queries do not matter (No-Vary-Search). */
export interface VarianceNote {
  readonly kind: 'variance';
  readonly variance: SearchVariance;
  /** Unique among the notes of this cache. */
  readonly generation: number;
}

/** The lifetime of a function's result. Times are in milliseconds on the cache's clock. It has no URL: `url` is empty. */
export interface ResultHead extends Stamped {
  /** The key under which it is stored, compared when it is read. */
  readonly key: string;
  readonly storedAt: number;
  readonly freshUntil: number;
  /** How long after its freshness it is used while a run replaces it. Seconds. */
  readonly staleWhileRevalidate: number;
  /** How long after its freshness it replaces an error. Seconds. */
  readonly staleIfError: number;
}

/** A function's result in the memory tier. */
export interface StoredResult extends ResultHead {
  readonly kind: 'result';
  /** The value, which belongs to the cache; or the error that the function threw. */
  readonly outcome: { readonly value: unknown } | { readonly error: unknown };
  /** The value may be given to callers: it is frozen, or its function does not isolate results. */
  readonly isShareable: boolean;
  /** No object occurs in the value twice. */
  readonly isTree: boolean;
  /** Memory of the outcome in bytes. */
  readonly outcomeBytes: number;
  /** Failed runs since it was stored, and when the next one may begin. Milliseconds on the cache's clock. */
  failures: number;
  retryAt: number;
}

/** A function's result as Redis holds it. */
export interface EncodedResult extends ResultHead {
  readonly kind: 'encoded-result';
  readonly body: Buffer;
}

export type StoreItem = StoredResponse | VariantIndex | VarianceNote | StoredResult;

/** Items that Redis can hold. Notes are left out, because their generation is valid in one process only. */
export type RedisItem = StoredResponse | VariantIndex | EncodedResult;

/** Fixed memory of one entry: objects, buffers, slots in maps and lists. Measured; bytes. */
const OVERHEAD = 600;

/** Fixed memory of one string, such as a tag or the value of a header field. Names of fields are interned. */
const OVERHEAD_OF_TEXT = 32;
const OVERHEAD_OF_FORM = 350;

/** Index of the host in the parts of a key, after scope, scheme and `Host`. */
const HOST_IN_KEY = 3;

/** The host of a response's request, in its canonical form. */
export function hostOf({ key }: { readonly key: string }): string | undefined {
  const host = partAt(key, HOST_IN_KEY);
  return host === undefined ? undefined : canonicalHost(host);
}

/** The name of a URL in the invalidation log, with or without a host. */
export function urlName(target: string, host = ''): string {
  // Unambiguous: a path begins with a slash, and a host does not.
  return host + canonicalTarget(target);
}

/** A copy of an item with some properties changed. It keeps `encoded`, which belongs to the body. */
export function copyItem<T extends StoreItem>(
  item: T,
  changes: Partial<Pick<StoredResponse, 'key' | 'url' | 'tags' | 'freshUntil'>> = {},
): T {
  // No spread, because a compact response has most of its properties on its prototype.
  return Object.assign(Object.create(Object.getPrototypeOf(item)), item, { prepared: undefined }, changes);
}

/**
 * The memory of an item in bytes: its body, compressed bodies, texts and fixed costs. Interned parts count in
 * full.
 */
export function sizeOf(key: string, item: StoreItem): number {
  const own = OVERHEAD + bytesOf(key);
  if (item.kind === 'variance') return own + bytesOfList([...item.variance.names]);
  if (item.kind === 'variants') return own + bytesOfList(item.names) + bytesOfList(item.keys);
  if (item.kind === 'result') return own + bytesOfList(item.tags) + item.outcomeBytes;
  let bytes = own + bytesOf(item.url) + item.etag.length + bytesOfList(item.tags) + bytesHeldBy(item.body);
  bytes += item.prepared?.bytes ?? 0;
  for (const [, value] of item.headers) bytes += bytesOfLines(value);
  for (const form of item.encoded?.values() ?? [])
    bytes += OVERHEAD_OF_FORM + (form.body ? bytesHeldBy(form.body) : 0);
  return bytes;
}

/** Header values are Latin-1, because Node rejects other characters. */
function bytesOfLines(value: StoredField[1]): number {
  if (typeof value === 'string') return OVERHEAD_OF_TEXT + value.length;
  return value.reduce((bytes, line) => bytes + OVERHEAD_OF_TEXT + line.length, 0);
}

function bytesOfList(texts: readonly string[]): number {
  let bytes = texts.length * OVERHEAD_OF_TEXT;
  for (const text of texts) bytes += bytesOf(text);
  return bytes;
}

/** V8 stores one byte per character, or two if any character is beyond Latin-1. */
export function bytesOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? text.length * 2 : text.length;
}
