import { configError } from './errors.js';
import { formatValue } from './format-value.js';
import type { ValidationResult } from './validation-result.js';

/** A length of time: `'500ms'`, `'30s'`, `'5m'`, `'1h'`, `'1d'` (decimals allowed: `'1.5h'`), or seconds as a number. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}` | number;

/** `'512b'`, `'1kb'`, `'10mb'`, `'10 MB'`, `'1gb'` (units of 1024; decimals allowed: `'1.5mb'`), or a number of bytes. */
export type Size =
  | `${number}${'' | ' '}${'b' | 'kb' | 'mb' | 'gb' | 'B' | 'kB' | 'KB' | 'MB' | 'GB'}`
  | number;

const HOUR = 3600;
const DAY = 86_400;
const secondsPer: Readonly<Record<string, number>> = { ms: 1 / 1000, s: 1, m: 60, h: HOUR, d: DAY };
const bytesPer: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

// Nothing over HTTP is meant to last that long.
const longestSeconds = 3650 * DAY;

/** A longer lifetime is a slip of units: most often milliseconds are given as seconds. */
const ONE_YEAR = 365 * DAY;

const durationForms = "a duration such as '500ms', '30s', '5m', '1.5h' or '1d', or a number of seconds";
const sizeForms = "a size such as '64mb' or a number of bytes";

/** Reads a duration as seconds, or says what is accepted. */
export function readDuration(value: unknown): ValidationResult<number> {
  return readSeconds(value, longestSeconds, 'ten years (3650d)');
}

/** Reads the lifetime of a response as seconds: a duration of at most one year. */
export function readLifetime(value: unknown): ValidationResult<number> {
  return readSeconds(value, ONE_YEAR, 'one year (365d)');
}

function readSeconds(value: unknown, longest: number, limit: string): ValidationResult<number> {
  const seconds = amount(value, /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/, secondsPer);
  if (seconds === undefined) return { expected: durationForms };
  if (seconds > longest) return { expected: atMost(limit, value) };
  if (typeof value === 'number') return { value, doubt: doubtUnit(value) };
  // '0.1m' is meant as 6 seconds, not as 6.000000000000001.
  return { value: Math.round(seconds * 1e6) / 1e6 };
}

/**
 * Whether a plain number of seconds is probably one of milliseconds. Long times that are meant are whole hours, and above
 * a day whole days; milliseconds are thousands.
 */
function doubtUnit(seconds: number): string | undefined {
  const natural = seconds > DAY ? DAY : HOUR;
  if (seconds <= HOUR || seconds % 1000 !== 0 || seconds % natural === 0) return undefined;
  const time =
    seconds > 2 * DAY ? `${(seconds / DAY).toFixed(1)} days` : `${(seconds / HOUR).toFixed(1)} hours`;
  return (
    `is the plain number ${seconds}, which counts as seconds: ${time}; ` +
    `write '${seconds}ms' if it is in milliseconds, otherwise '${seconds}s'`
  );
}

function atMost(limit: string, value: unknown): string {
  const hint = typeof value === 'number' ? ` (milliseconds? then write '${value}ms')` : '';
  return `a duration of at most ${limit}, in seconds${hint}`;
}

/** Reads a size as bytes, or says what is accepted. */
export function readSize(value: unknown): ValidationResult<number> {
  const text = typeof value === 'string' ? value.toLowerCase() : value;
  const bytes = amount(text, /^(\d+(?:\.\d+)?) ?(b|kb|mb|gb)$/, bytesPer);
  if (bytes === undefined) return { expected: sizeForms };
  const whole = typeof text === 'string' && !/\d ?b$/.test(text) ? Math.floor(bytes) : bytes;
  return Number.isSafeInteger(whole) ? { value: whole } : { expected: `${sizeForms}, in whole bytes` };
}

/**
 * Converts a duration to seconds.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for anything but the forms of `Duration`.
 */
export function parseDuration(value: unknown, read = readDuration): number {
  return readOrThrow(read(value), 'duration', value);
}

function amount(value: unknown, form: RegExp, factors: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  const [, digits, unit] = typeof value === 'string' ? (form.exec(value) ?? []) : [];
  if (digits === undefined || unit === undefined) return undefined;
  const result = Number(digits) * (factors[unit] ?? Number.NaN);
  return Number.isFinite(result) ? result : undefined;
}

function readOrThrow(reading: ValidationResult<number>, path: string, value: unknown): number {
  if ('value' in reading) return reading.value;
  throw configError([{ path, message: `expected ${reading.expected}`, received: formatValue(value) }]);
}
