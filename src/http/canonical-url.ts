/** Matches most targets: nothing to decode, encode or fold. */
const PLAIN_PATH = /^(?:\/[a-z0-9\-._~]+)+$/;
const PLAIN_QUERY = /^[\w\-.~]+=[\w\-.~]+(?:&[\w\-.~]+=[\w\-.~]+)*$/;

/** Characters to encode, and escapes to decode or to change in case. Slashes separate the segments of a path. */
const TO_RESPELL_IN_PATH = /%[\da-fA-F]{2}|[^\w\-.~/]/gu;
const TO_RESPELL_IN_QUERY = /%[\da-fA-F]{2}|[^\w\-.~]/gu;

const ESCAPES = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).padStart(2, '0')}`);
const UNRESERVED = /[\w\-.~]/;
const encoder = new TextEncoder();

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
  return Array.from(encoder.encode(found), (byte) => ESCAPES[byte]).join('');
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
