/** A figure that is not there. */
export const NOTHING = '–';

type Figure = number | null | undefined;

const THREE_DIGITS = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

const isThere = (value: Figure): value is number => typeof value === 'number' && Number.isFinite(value);

/** A number of things: `1,234`, `1.23 M`. */
export function showCount(value: Figure): string {
  if (!isThere(value)) return NOTHING;
  if (value < 100_000) return WHOLE.format(value);
  if (value < 1e6) return `${THREE_DIGITS.format(value / 1000)} k`;
  return value < 1e9 ? `${THREE_DIGITS.format(value / 1e6)} M` : `${THREE_DIGITS.format(value / 1e9)} G`;
}

/** Things per second. */
export function showRate(value: Figure): string {
  if (!isThere(value)) return NOTHING;
  if (value >= 1000) return showCount(value);
  return value >= 100 || Number.isInteger(value) ? WHOLE.format(value) : value.toFixed(value < 10 ? 2 : 1);
}

/** A share from 0 to 1 in percent. */
export function showShare(value: Figure): string {
  if (!isThere(value)) return NOTHING;
  const percent = value * 100;
  if (percent > 0 && percent < 0.01) return '< 0.01 %';
  // 99.96 % must not become 100 %.
  if (percent > 99.9 && percent < 100) return '> 99.9 %';
  return `${percent < 10 ? THREE_DIGITS.format(Number(percent.toFixed(2))) : THREE_DIGITS.format(percent)} %`;
}

const STEPS = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const;

/** A duration in seconds: `840 µs`, `38 ms`, `1.24 s`, `2 h 10 min`. */
export function showDuration(seconds: Figure): string {
  if (!isThere(seconds)) return NOTHING;
  if (seconds === 0) return '0 ms';
  if (seconds < 0.000_999_5) return `${THREE_DIGITS.format(Math.round(seconds * 1e6))} µs`;
  if (seconds < 0.009_995) return `${THREE_DIGITS.format(Number((seconds * 1000).toFixed(1)))} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${THREE_DIGITS.format(seconds)} s`;
  const at = STEPS.findIndex(([, length]) => seconds >= length);
  const [unit, length] = STEPS[at]!;
  const whole = Math.floor(seconds / length);
  const [nextUnit, nextLength] = STEPS[at + 1] ?? STEPS[at]!;
  const rest = Math.floor((seconds - whole * length) / nextLength);
  return rest > 0 && at + 1 < STEPS.length ? `${whole} ${unit} ${rest} ${nextUnit}` : `${whole} ${unit}`;
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes in powers of 1,024, as the options of hotpath have them. */
export function showBytes(bytes: Figure): string {
  if (!isThere(bytes)) return NOTHING;
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${THREE_DIGITS.format(bytes / 1024 ** power)} ${BYTE_UNITS[power]}`;
}

/** Bytes per second. */
export function showBytesRate(value: Figure): string {
  return isThere(value) ? `${showBytes(value)}/s` : NOTHING;
}

/** CPU cores. */
export function showCores(value: Figure): string {
  return isThere(value) ? `${THREE_DIGITS.format(Number(value.toFixed(2)))} cores` : NOTHING;
}

/** How long ago something was. @param seconds since then. */
export function showAgo(seconds: Figure): string {
  if (!isThere(seconds)) return NOTHING;
  return seconds < 1 ? 'now' : `${showDuration(Math.floor(seconds))} ago`;
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const CLOCK_WITH_SECONDS = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/**
 * A time of day.
 *
 * @param seconds since 1970.
 * @param step between two times. Seconds.
 */
export function showClock(seconds: number, step = 60): string {
  return (step < 60 ? CLOCK_WITH_SECONDS : CLOCK).format(seconds * 1000);
}
