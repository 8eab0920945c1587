import { configError } from './errors.js';
import { formatValue } from './format-value.js';
import type { ValidationResult } from './validation-result.js';

/** A length of time: seconds as a number, or `'30s'`, `'5m'`, `'1h'`, `'1d'` (decimals allowed: `'1.5h'`). */
export type Duration = number | `${number}s` | `${number}m` | `${number}h` | `${number}d`;

/** A number of bytes, or `'512b'`, `'1kb'`, `'10mb'`, `'1gb'` (units of 1024; decimals allowed: `'1.5mb'`). */
export type Size = number | `${number}b` | `${number}kb` | `${number}mb` | `${number}gb`;

const secondsPer: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const bytesPer: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

// Longer is a slip of units (milliseconds, most often); nothing over HTTP is meant to last that long.
const longestSeconds = 3650 * 86_400;

const durationForms = "a number of seconds, or a duration such as '30s', '5m', '1.5h' or '1d'";
const sizeForms = "a size such as '64mb' or a number of bytes";

/** Reads a duration as seconds, or says what is accepted. */
export function readDuration(value: unknown): ValidationResult<number> {
  if (typeof value === 'string' && /^\d+(?:\.\d+)?ms$/.test(value)) {
    const seconds = Number(value.slice(0, -2)) / 1000;
    return { expected: `${durationForms} (milliseconds are written as '${seconds}s' or ${seconds})` };
  }
  const seconds = amount(value, /^(\d+(?:\.\d+)?)(s|m|h|d)$/, secondsPer);
  if (seconds === undefined) return { expected: durationForms };
  if (seconds > longestSeconds) return { expected: 'a duration of at most ten years (3650d), in seconds' };
  // '0.1m' is meant as 6 seconds, not as 6.000000000000001.
  return { value: typeof value === 'number' ? value : Math.round(seconds * 1e6) / 1e6 };
}

/** Reads a size as bytes, or says what is accepted. */
export function readSize(value: unknown): ValidationResult<number> {
  const bytes = amount(value, /^(\d+(?:\.\d+)?)(b|kb|mb|gb)$/, bytesPer);
  if (bytes === undefined) return { expected: sizeForms };
  const whole = typeof value === 'string' && !/\db$/.test(value) ? Math.floor(bytes) : bytes;
  return Number.isSafeInteger(whole) ? { value: whole } : { expected: `${sizeForms}, in whole bytes` };
}

/**
 * Converts a duration to seconds.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for anything but the forms of `Duration`.
 */
export function parseDuration(value: unknown): number {
  return readOrThrow(readDuration(value), 'duration', value);
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
