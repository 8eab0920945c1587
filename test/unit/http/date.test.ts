import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatHttpDate, parseHttpDate } from '../../../src/http/http-date.js';

const TIME = Date.UTC(1994, 10, 6, 8, 49, 37);
const NOW = Date.UTC(2026, 5, 1);

describe('parseHttpDate', () => {
  it.each([
    ['the form that is sent', 'Sun, 06 Nov 1994 08:49:37 GMT', TIME],
    ['RFC 850', 'Sunday, 06-Nov-94 08:49:37 GMT', TIME],
    ['asctime', 'Sun Nov  6 08:49:37 1994', TIME],
    ['asctime with a day of two digits', 'Wed Nov 16 08:49:37 1994', Date.UTC(1994, 10, 16, 8, 49, 37)],
    ['any case (RFC 9111 §4.2)', 'sun, 06 NOV 1994 08:49:37 gMT', TIME],
    ['any case, RFC 850', 'SUNDAY, 06-nov-94 08:49:37 gmt', TIME],
    ['any case, asctime', 'SUN NOV  6 08:49:37 1994', TIME],
    ['a leap day', 'Thu, 29 Feb 2024 00:00:00 GMT', Date.UTC(2024, 1, 29)],
    ['a leap second', 'Sat, 31 Dec 2016 23:59:60 GMT', Date.UTC(2017, 0, 1)],
    ['a year long ago', 'Mon, 01 Jan 0001 00:00:00 GMT', Date.parse('0001-01-01T00:00:00Z')],
    ['two digits, 50 years ahead', 'Monday, 01-Jun-76 00:00:00 GMT', Date.UTC(2076, 5, 1)],
    [
      'two digits, more than 50 years ahead: the past',
      'Wednesday, 01-Jun-77 00:00:00 GMT',
      Date.UTC(1977, 5, 1),
    ],
  ])('reads %s', (_case, value, time) => {
    expect(parseHttpDate(value, NOW)).toBe(time);
  });

  it.each([
    '',
    '0',
    '-1',
    'now',
    '1994-11-06T08:49:37Z',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37 +0100',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'sun, 06 nov 1994 08:49:37 utc',
    'Sun, 06 Foo 1994 08:49:37 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Thu, 29 Feb 2023 00:00:00 GMT',
    'Sun, 32 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:00 GMT',
    'Sun, 06 Nov 1994 08:49:61 GMT',
    'Sun, 06 Nov 1994 08:49:37 GMT ',
    'Xxx, 06 Nov 1994 08:49:37 GMT',
    `Sun, 06 Nov 1994 08:49:37 GMT${' '.repeat(16_000)}`,
    'Sunday, 06-Nov-1994 08:49:37 GMT',
  ])('rejects %j', (value) => {
    expect(parseHttpDate(value, NOW)).toBeUndefined();
  }); // prettier-ignore

  it('reads back a written date, to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799 }), (seconds) => {
        expect(parseHttpDate(formatHttpDate(seconds * 1000), NOW)).toBe(seconds * 1000);
      }),
      { numRuns: 2_000, seed: 3 },
    );
  });
});
