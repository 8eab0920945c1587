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
