import { describe, expect, it } from 'vitest';
import { parseCacheControl } from '../../../src/http/cache-control.js';
import { heuristicLifetime } from '../../../src/http/freshness.js';
import { formatHttpDate } from '../../../src/http/http-date.js';

const NOW = Date.UTC(2026, 5, 1);
const DAY = 86_400;
const lifetime = (status: number, secondsAgo: number, cacheControl = '') =>
  heuristicLifetime(
    {
      status,
      cacheControl: parseCacheControl(cacheControl),
      lastModified: formatHttpDate(NOW - secondsAgo * 1000),
    },
    NOW,
  );

describe('heuristicLifetime', () => {
  it.each([
    [10, 1],
    [3600, 360],
    [DAY, DAY / 10],
    [10 * DAY, DAY],
    [11 * DAY, DAY],
    [10_000 * DAY, DAY],
  ])('gives a response modified %d seconds ago a lifetime of %d', (ago, seconds) => {
    expect(lifetime(200, ago)).toBeCloseTo(seconds, 6);
  });

  it.each([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])('applies to status %d', (status) => {
    expect(lifetime(status, DAY)).toBeGreaterThan(0);
  });

  it.each([201, 202, 205, 206, 302, 303, 307, 400, 401, 403, 418, 429, 500, 502, 503, 504, 599])(
    'applies to status %d only with public',
    (status) => {
      expect(lifetime(status, DAY)).toBeUndefined();
      expect(lifetime(status, DAY, 'public')).toBe(DAY / 10);
    },
  );

  it('is undefined for a modification now, in the future, malformed or missing', () => {
    expect(lifetime(200, 0)).toBeUndefined();
    expect(lifetime(200, -60)).toBeUndefined();
    const fields = { status: 200, cacheControl: parseCacheControl('public') };
    expect(heuristicLifetime(fields, NOW)).toBeUndefined();
    expect(heuristicLifetime({ ...fields, lastModified: 'yesterday' }, NOW)).toBeUndefined();
  });
});
