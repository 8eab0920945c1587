/**
 * Reads path and query of a request target (RFC 9112 §3.2), unchanged; the target may be an absolute URL.
 *
 * @returns `undefined` for a target without a path: `*`, or a host and port.
 */
export function pathAndQueryOf(target: string): string | undefined {
  if (target.startsWith('/')) return target;
  const [authority] = /^[a-z][a-z0-9+.-]*:\/\/[^/?#\\]*/i.exec(target) ?? [];
  if (authority === undefined) return undefined;
  const rest = target.slice(authority.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** Matches most targets: nothing to decode, encode or fold. */
const PLAIN_PATH = /^(?:\/[a-z0-9\-._~]+)+$/;
const PLAIN_QUERY = /^[\w\-.~]+=[\w\-.~]+(?:&[\w\-.~]+=[\w\-.~]+)*$/;

/** Characters to encode, and escapes to decode or to change in case. Slashes separate the segments of a path. */
const TO_RESPELL_IN_PATH = /%[\da-fA-F]{2}|[^\w\-.~/]/gu;
const TO_RESPELL_IN_QUERY = /%[\da-fA-F]{2}|[^\w\-.~]/gu;

const ESCAPES = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).padStart(2, '0')}`);
const UNRESERVED = /[\w\-.~]/;

/**
 * The canonical form of all targets that an app reads the same. It unifies percent-encoding, `+` and empty pairs in the
 * query, and case and extra slashes in the path, which the router of Express ignores. The order of query
 * parameters matters. The result is for comparison, not for sending.
 *
 * @param target path and query.
 */
export function canonicalTarget(target: string): string {
  if (PLAIN_PATH.test(target)) return target;
  const at = target.indexOf('?');
  if (at < 0) return canonicalPath(target);
  const path = canonicalPath(target.slice(0, at));
  const query = canonicalQuery(target.slice(at + 1));
  return query === '' ? path : `${path}?${query}`;
}

/** Like `canonicalTarget`, for a path alone. */
export function canonicalPath(path: string): string {
  if (PLAIN_PATH.test(path)) return path;
  const folded = canonicalPathText(path);
  return folded.length > 1 && folded.endsWith('/') ? folded.slice(0, -1) : folded;
}

/** Like `canonicalPath`, for a part of a path. */
export function canonicalPathText(text: string): string {
  const spelled = text.replace(TO_RESPELL_IN_PATH, respell);
  return spelled.replace(/\/{2,}/g, '/').toLowerCase();
}

function canonicalQuery(query: string): string {
  if (PLAIN_QUERY.test(query)) return query;
  const component = (text: string) => text.replaceAll('+', ' ').replace(TO_RESPELL_IN_QUERY, respell);
  const pairs: string[] = [];
  for (const piece of query.split('&')) {
    const at = piece.indexOf('=');
    const name = component(at < 0 ? piece : piece.slice(0, at));
    const value = at < 0 ? '' : component(piece.slice(at + 1));
    if (value !== '') pairs.push(`${name}=${value}`);
    else if (name !== '') pairs.push(name);
  }
  return pairs.join('&');
}

function respell(found: string): string {
  if (found.length === 3 && found.startsWith('%')) {
    const byte = Number.parseInt(found.slice(1), 16);
    const char = String.fromCharCode(byte);
    return UNRESERVED.test(char) ? char : ESCAPES[byte]!;
  }
  const code = found.codePointAt(0)!;
  if (code < 0x80) return ESCAPES[code]!;
  // A lone surrogate becomes U+FFFD, as in the URL standard.
  return Array.from(new TextEncoder().encode(found), (byte) => ESCAPES[byte]).join('');
}

/**
 * The canonical form of a host. Default ports are dropped for any scheme, because a proxy may have removed TLS. The
 * final dot of a full domain name is dropped: it names the same host.
 * `X-Forwarded-Host` may be a list; the first host counts, as in Express.
 *
 * @param host with its port.
 */
export function canonicalHost(host: string): string {
  const comma = host.indexOf(',');
  const first = (comma < 0 ? host : host.slice(0, comma)).trim();
  const text = URL.canParse(`http://${first}`) ? new URL(`http://${first}`).host : first.toLowerCase();
  return text.replace(/:(?:80|443)$/, '').replace(/\.(?=$|:\d+$)/, '');
}

/** The path of a request target. */
export function pathOf(url: string): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** Splits a target into path and query. */
export function splitTarget(target: string): { path: string; query: string | undefined } {
  const at = target.indexOf('?');
  return at < 0
    ? { path: target, query: undefined }
    : { path: target.slice(0, at), query: target.slice(at + 1) };
}
