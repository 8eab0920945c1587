import { describe, expect, it } from 'vitest';
import { isMalformedCacheControl } from '../../../src/http/cache-control.js';
import { MALFORMED_CACHE_CONTROL } from '../../helpers/malformed-cache-control.js';

const WELL_FORMED = [
  'public, max-age=60',
  'public,, max-age="60" ,',
  'public , max-age =60',
  'public, max-age=60, ext="a, no-store"',
  'public, max-age=60, ext="\\""',
  "public, max-age=60, 'x'=1",
  'public, max-age=60, community="UCI", x-y',
  'public, max-age=60, s-maxage=abc, no-cache=""',
  'public, max-age=',
  '',
];

describe('isMalformedCacheControl', () => {
  it.each(MALFORMED_CACHE_CONTROL)('finds %j malformed [A05]', (value) => {
    expect(isMalformedCacheControl(value)).toBe(true);
    expect(isMalformedCacheControl(['max-age=60', value])).toBe(true);
  });

  it.each(WELL_FORMED)('finds %j well-formed', (value) => {
    expect(isMalformedCacheControl(value)).toBe(false);
    expect(isMalformedCacheControl([value, 'public'])).toBe(false);
  });
});
