const LONGEST = 2048;

/** Control characters of both sets, line separators, and marks that change the direction of text. */
const CONTROL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text of a client, for a log: no character of it can end the line or steer a terminal. */
export function escapeForLog(text: string, longest = LONGEST): string {
  const short = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return short.replace(CONTROL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A path may look like a URL with credentials: `//user:password@host/`. */
export function pathForLog(path: string): string {
  return escapeForLog(path.replace(/^\/\/[^/@]*@/, '//***@'));
}

/**
 * A query with its `?`.
 *
 * @param shown `true`: all of it; else the names of the parameters whose values are shown.
 * @returns `undefined` for an empty query.
 */
export function queryForLog(search: string, shown: true | readonly string[]): string | undefined {
  if (search.length < 2) return undefined;
  if (shown === true) return escapeForLog(search);
  const parts = search
    .slice(1, LONGEST)
    .split('&')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 || shown.includes(part.slice(0, at)) ? part : `${part.slice(0, at)}=[redacted]`;
    });
  return escapeForLog(`?${parts.join('&')}`);
}
