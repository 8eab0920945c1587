import { inspect } from 'node:util';

const longest = 80;

/** Formats a value for an error message: one short line, without the credentials of a URL. */
export function formatValue(value: unknown): string {
  if (typeof value === 'string') return shorten(inspect(maskCredentials(value)));
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !isPlainObject(value)) {
    return `an instance of ${value.constructor?.name || 'an unnamed class'}`;
  }
  const text = inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY });
  return shorten(text.replace(PIECE, maskPiece));
}

/** A string as `inspect` writes it, or a word. A malformed URL may have white space within its password. */
const PIECE = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\S+/g;

function maskPiece(piece: string): string {
  const quote = /^['"`]/.exec(piece)?.[0] ?? '';
  const isQuoted = quote !== '' && piece.length > 1 && piece.endsWith(quote);
  return isQuoted ? quote + maskCredentials(piece.slice(1, -1)) + quote : maskCredentials(piece);
}

/** Formats a value that may be secret for an error message: its kind, and none of its content. */
export function describeSecret(value: unknown): string {
  return typeof value === 'string'
    ? `a string of ${value.length} characters`
    : `a value of type ${typeof value}`;
}

/** Whether a value is an object literal (of any realm) or has no prototype: not a class instance, not an array. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Appends a key to the path of an option, as written in code. */
export function joinPath(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  if (/^[A-Za-z_$][\w$]*$/.test(key)) return path === '' ? key : `${path}.${key}`;
  return `${path}['${key}']`;
}

// Masks up to the last `@`, because malformed URLs end up here, and the scheme may be missing. No pattern that could
// backtrack, because the text may be long.
function maskCredentials(text: string): string {
  const at = text.lastIndexOf('@');
  const scheme = text.indexOf('://');
  const start = scheme >= 0 && scheme < at ? scheme + 3 : 0;
  // Text without an `@` may be a URL that was cut inside its password, as `#` does in many files. An `@` after a `/`
  // may be part of the password too.
  const isCut =
    scheme >= 0 &&
    text.length > scheme + 3 &&
    (at < 0 ? !URL.canParse(text) : SPLIT.test(text.slice(start, at)));
  const masked = isCut
    ? `${text.slice(0, scheme + 3)}***`
    : at < 0
      ? text
      : `${text.slice(0, start)}***${text.slice(at)}`;
  // To the end, because an unencoded value may contain `&` and white space.
  return masked.replace(/([?&][\w-]{0,20}(?:pass|secret|token|key)[\w-]{0,20}=).*/is, '$1***');
}

const SPLIT = /[/?#\s]/;

function shorten(text: string): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
