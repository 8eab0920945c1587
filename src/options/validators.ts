import { readDuration, readSize } from './units.js';
import type { Validator } from './validation-result.js';

// Node fires a timer of more than 2^31 ms at once, so timer durations must stay below.
const longestTimer = 86_400;

/** Reads `true` or `false`. */
export const booleanValidator: Validator<boolean> = (input) =>
  typeof input === 'boolean' ? { value: input } : { expected: 'true or false' };

/** Reads a duration greater than 0, as seconds. */
export const readPositiveDuration: Validator<number> = (input) => {
  const reading = readDuration(input);
  return 'value' in reading && reading.value === 0 ? { expected: 'a duration greater than 0' } : reading;
};

/** Reads the duration of a timer, as seconds: at most one day. */
export const readTimerDuration: Validator<number> = (input) => {
  const reading = readDuration(input);
  return 'value' in reading && reading.value > longestTimer
    ? { expected: "a duration of at most one day ('1d')" }
    : reading;
};

/** Reads a duration as whole seconds, because headers carry no fractions. */
export const readWholeSeconds: Validator<number> = (input) => {
  const reading = readDuration(input);
  return 'value' in reading && !Number.isInteger(reading.value)
    ? { expected: 'a duration in whole seconds' }
    : reading;
};

/** Reads a size greater than 0, as bytes. */
export const readPositiveSize: Validator<number> = (input) => {
  const reading = readSize(input);
  return 'value' in reading && reading.value === 0 ? { expected: 'a size greater than 0' } : reading;
};

/** Reads a whole number between two bounds, both included. */
export function readInteger(least: number, most = Number.MAX_SAFE_INTEGER): Validator<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (input) =>
    typeof input === 'number' && Number.isSafeInteger(input) && input >= least && input <= most
      ? { value: input }
      : { expected: `a whole number ${range}` };
}

/** Reads a share from 0 to 1. */
export const readShare: Validator<number> = (input) =>
  typeof input === 'number' && input >= 0 && input <= 1
    ? { value: input }
    : { expected: 'a number from 0 to 1' };

/** Reads a share between 0 and 1, both excluded. */
export const readPartialShare: Validator<number> = (input) =>
  typeof input === 'number' && input > 0 && input < 1
    ? { value: input }
    : { expected: 'a number between 0 and 1, such as 0.8' };

/** Reads one of several words. */
export function readWord<const W extends string>(...words: readonly W[]): Validator<W> {
  const forms = words.map((word) => `'${word}'`).join(' or ');
  return (input) => {
    const value = words.find((word) => word === input);
    return value === undefined ? { expected: forms } : { value };
  };
}

/** Reads a function. Its signature is not checked, because only a call could show it. */
export function readFunction<F>(): Validator<F> {
  return (input) => (typeof input === 'function' ? { value: input as F } : { expected: 'a function' });
}

/** Reads a non-empty name without control characters. */
export const readName: Validator<string> = (input) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
  typeof input === 'string' && /^[^\u0000-\u001f\u007f]+$/.test(input)
    ? { value: input }
    : { expected: 'a string that is not empty and holds no control characters' };

/** Reads a token (RFC 9110 §5.6.2), such as the name of a header or a cookie. */
export const readToken: Validator<string> = (input) =>
  typeof input === 'string' && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(input) && input !== '*'
    ? { value: input }
    : { expected: "a name such as 'X-Request-Id' (letters, digits and hyphens)" };

/** Reads the name of a header, in lower case. */
export const readHeaderName: Validator<string> = (input) => {
  const reading = readToken(input);
  return 'value' in reading ? { value: reading.value.toLowerCase() } : reading;
};

/** Reads the name of a header, or a prefix of names before a `*`, in lower case. */
export const readHeaderPattern: Validator<string> = (input) => {
  const reading = readHeaderName(input);
  return 'value' in reading && /^[^*]+\*?$/.test(reading.value)
    ? reading
    : { expected: "a name such as 'X-Request-Id' or 'X-Acme-*' (a `*` only at its end)" };
};

/** Reads the value of a header field (RFC 9110 §5.5), which is sent as Latin-1. */
export const validateHeaderText: Validator<string> = (input) =>
  typeof input === 'string' &&
  /^(?:[\x21-\x7e\xa0-\xff](?:[\t\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?)$/.test(input)
    ? { value: input }
    : {
        expected:
          'the value of a header: Latin-1 without control characters, not empty, without spaces around it',
      };

/** Reads an absolute URL with one of the schemes, which may contain a user name and a password. */
export function readUrl(...schemes: readonly string[]): Validator<string> {
  const expected =
    `a URL such as '${schemes[0]}://host/…', in whose user name and password ` +
    '`@`, `/`, `?`, `#` and `%` are percent-encoded (encodeURIComponent)';
  return (input) => {
    if (typeof input !== 'string' || /[\s#]/.test(input) || !URL.canParse(input)) return { expected };
    const url = new URL(input);
    if (!schemes.includes(url.protocol.slice(0, -1)) || url.hostname === '') return { expected };
    return isSplitCorrectly(url) && !hasAmbiguousAt(input) && areDecodable(url.username, url.password)
      ? { value: input }
      : { expected };
  };
}

/** An unencoded `/` or `?` in a password ends the authority, so that its start would be read as host and port. */
function isSplitCorrectly({ pathname, search }: URL): boolean {
  return !(pathname + search).includes('@');
}

/** Parsers do not agree on which of several `@` ends the password. */
function hasAmbiguousAt(text: string): boolean {
  const [authority = ''] = text.slice(text.indexOf('//') + 2).split(/[/?#]/, 1);
  return authority.indexOf('@') !== authority.lastIndexOf('@');
}

function areDecodable(...texts: readonly string[]): boolean {
  try {
    texts.forEach(decodeURIComponent);
    return true;
  } catch {
    return false;
  }
}

/** A pool of connections, as far as hotpath reads its queue. */
export interface WaitingPool {
  /** Queries that wait for a connection. */
  readonly waitingCount: number;
}

/** Reads a pool. */
export const readWaitingPool: Validator<WaitingPool> = (input) =>
  typeof (input as Partial<WaitingPool> | null | undefined)?.waitingCount === 'number'
    ? { value: input as WaitingPool }
    : { expected: 'a pool of pg, with a number `waitingCount`' };
