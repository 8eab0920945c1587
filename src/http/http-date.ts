const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
// Case-insensitive, as RFC 9111 §4.2 recommends for caches.
const IMF = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/i;
const RFC850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/i;
const ASCTIME = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/i;

/**
 * Reads an HTTP date in any of its three forms (RFC 9110 §5.6.7), in any case (RFC 9111 §4.2).
 *
 * @returns milliseconds since the epoch, or `undefined` for anything else.
 */
export function parseHttpDate(value: string, now: number = Date.now()): number | undefined {
  if (value.length > 40) return undefined;
  let found = IMF.exec(value);
  if (found) return parseTimeOfDay(Number(found[3]), found[2]!, found[1]!, found[4]!, found[5]!, found[6]!);
  found = ASCTIME.exec(value);
  if (found) return parseTimeOfDay(Number(found[6]), found[1]!, found[2]!, found[3]!, found[4]!, found[5]!);
  found = RFC850.exec(value);
  if (!found) return undefined;
  // A two-digit year that would be more than 50 years ahead is the most recent past one.
  const thisYear = new Date(now).getUTCFullYear();
  let year = thisYear - (thisYear % 100) + Number(found[3]);
  if (year > thisYear + 50) year -= 100;
  return parseTimeOfDay(year, found[2]!, found[1]!, found[4]!, found[5]!, found[6]!);
}

/** Writes the form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`. Unit: milliseconds since the epoch. */
export function formatHttpDate(time: number): string {
  return new Date(time).toUTCString();
}

/** Caches the last date, because many dates fall into the same second. */
export class HttpDates {
  #read: { readonly text: string; readonly time: number | undefined } | undefined;
  #written = { second: Number.NaN, text: '' };

  /** As `parseHttpDate`. */
  parse(text: string): number | undefined {
    if (this.#read?.text !== text) this.#read = { text, time: parseHttpDate(text) };
    return this.#read.time;
  }

  /** As `formatHttpDate`. */
  format(time: number): string {
    const second = Math.floor(time / 1000);
    if (this.#written.second !== second) this.#written = { second, text: formatHttpDate(time) };
    return this.#written.text;
  }
}

function parseTimeOfDay(
  year: number,
  month: string,
  day: string,
  hour: string,
  minute: string,
  second: string,
) {
  const index = MONTHS.indexOf(month.toLowerCase());
  const [d, h, m, s] = [Number(day), Number(hour), Number(minute), Number(second)];
  // 60: a leap second.
  if (index < 0 || d < 1 || d > 31 || h > 23 || m > 59 || s > 60) return undefined;
  // Date.UTC would read a year below 100 as one of the last century.
  const date = new Date(0);
  date.setUTCFullYear(year, index, d);
  if (date.getUTCDate() !== d) return undefined; // 31 February
  return date.setUTCHours(h, m, s);
}
