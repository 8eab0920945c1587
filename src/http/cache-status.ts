/** Why a request was not answered from the store (RFC 9211 §2.2). */
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
  /** Answered without asking the app. Never together with `fwd` (§2.1). */
  readonly hit?: boolean;
  readonly fwd?: ForwardReason;
  /** The status that the handler answered with, where it differs from what is sent. */
  readonly fwdStatus?: number;
  /** The response is being stored. */
  readonly stored?: boolean;
  /** The request waited for another's: and was answered by it, or in vain (`false`). */
  readonly collapsed?: boolean;
  /** Seconds of freshness left. */
  readonly ttl?: number;
  /** Scheme, host, path and query; only where that is asked for. */
  readonly key?: string;
  /** The reason behind `fwd`, or what kept the response out of the store. */
  readonly detail?: string;
}

/** Characters. Headers have no more than 16 kB altogether. */
const LONGEST_DETAIL = 200;
const LONGEST_KEY = 2000;

const TOKEN = /^[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*$/;

/** Writes one member, with `hotpath` as the cache's name. */
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

/** A token where the text is one, else a string (RFC 8941 §3.3.3) of what a string can hold. */
function item(text: string): string {
  return TOKEN.test(text) ? text : quoted(text, LONGEST_DETAIL);
}

function quoted(text: string, longest: number): string {
  return `"${text
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, longest)
    .replace(/["\\]/g, '\\$&')}"`;
}
