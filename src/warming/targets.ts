import type { WarmTarget } from '../cache/revalidate/warm-requests.js';

/** The accepted URLs, for messages. */
export const URL_FORMS =
  "a path such as '/api/products', or a URL such as 'https://shop.example/api/products', " +
  'without user name, password and fragment';

/** Stands for an origin that is not known yet. */
const ANY_ORIGIN = 'http://any.invalid';

/** Whether a value is a path or an HTTP URL that a client can request. */
export function isUrlToWarm(value: unknown): value is string {
  return typeof value === 'string' && parseUrl(value, ANY_ORIGIN) !== undefined;
}

/** Whether a URL has no origin of its own. */
export function isRelative(url: string): boolean {
  return url.startsWith('/');
}

/** The path of a URL, as a browser sends it. */
export function pathToWarm(url: string): string {
  return parseUrl(url, ANY_ORIGIN)?.pathname ?? url;
}

/** The origin in its canonical form; `undefined` for anything else. */
export function parseOrigin(value: unknown): string | undefined {
  if (typeof value !== 'string' || !/^https?:\/\/[^/?#\\\s@]+\/?$/i.test(value) || !URL.canParse(value))
    return undefined;
  return new URL(value).origin;
}

/** The requests of a URL: one for each origin, if it has none of its own. */
export function targetsOf(
  url: string,
  origins: readonly string[],
  headers: Readonly<Record<string, string>>,
): WarmTarget[] {
  const bases = isRelative(url) ? origins : [ANY_ORIGIN];
  return bases.flatMap((base) => {
    const parsed = parseUrl(url, base);
    if (!parsed) return [];
    const { protocol, host, pathname, search } = parsed;
    return { scheme: protocol === 'https:' ? 'https' : 'http', host, target: pathname + search, headers };
  });
}

/** How messages name a target. */
export function formatTarget({ scheme, host, target }: WarmTarget): string {
  const url = `${scheme}://${host}${target}`;
  return url.length > 200 ? `${url.slice(0, 200)}…` : url;
}

function parseUrl(text: string, base: string): URL | undefined {
  // The parser removes white space, and reads a backslash as a slash.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
  if (!/^(?:\/(?!\/)|https?:\/\/)[^\s\u0000-\u001f\u007f\\#]*$/i.test(text) || !URL.canParse(text, base))
    return undefined;
  const url = new URL(text, base);
  return url.username === '' && url.password === '' ? url : undefined;
}
