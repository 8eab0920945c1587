/** The reason for forwarding a request to the handler (RFC 9211 §2.2). */
export type ForwardReason =
  | 'bypass'
  | 'method'
  | 'uri-miss'
  | 'vary-miss'
  | 'miss'
  | 'request'
  | 'stale'
  | 'partial';

/** One member of `Cache-Status` (RFC 9211 §2). */
export interface CacheStatus {
  /** Served without running the handler. Never together with `fwd` (§2.1). */
  readonly hit?: boolean;
  readonly fwd?: ForwardReason;
  /** The status of the handler's response, if it differs from the sent status. */
  readonly fwdStatus?: number | undefined;
  /** The response is being stored. */
  readonly stored?: boolean;
  /** The request waited for another one: its response was shared, or not (`false`). */
  readonly collapsed?: boolean | undefined;
  /** Remaining freshness lifetime. Seconds. */
  readonly ttl?: number | undefined;
  /** Scheme, host, path and query; only if the app enables it. */
  readonly key?: string | undefined;
  /** The reason for `fwd`, or for not storing the response. */
  readonly detail?: string | undefined;
}

/** Maximum length in characters. All headers together have at most 16 kB. */
const LONGEST_DETAIL = 200;
const LONGEST_KEY = 2000;

const TOKEN = /^[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*$/;

/** Writes one member, with the cache name `hotpath`. */
export function formatCacheStatus(status: CacheStatus): string {
  let text = 'hotpath';
  if (status.hit) text += '; hit';
  if (status.fwd) text += `; fwd=${status.fwd}`;
  if (status.fwdStatus !== undefined) text += `; fwd-status=${status.fwdStatus}`;
  if (status.stored) text += '; stored';
  if (status.collapsed !== undefined) text += status.collapsed ? '; collapsed' : '; collapsed=?0';
  if (status.ttl !== undefined) text += `; ttl=${Math.trunc(status.ttl)}`;
  if (status.key !== undefined) text += `; key=${quoted(status.key, LONGEST_KEY)}`;
  if (status.detail !== undefined) text += `; detail=${item(status.detail)}`;
  return text;
}

/** Writes a token if the text is one, else a string (RFC 8941 §3.3.3) of its allowed characters. */
function item(text: string): string {
  return TOKEN.test(text) ? text : quoted(text, LONGEST_DETAIL);
}

function quoted(text: string, longest: number): string {
  return `"${text
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, longest)
    .replace(/["\\]/g, '\\$&')}"`;
}
