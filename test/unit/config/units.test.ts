import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../src/config.js';
import type { SizeLimitSettings } from '../../../src/middleware/size-limit/options.js';
import { HotpathError } from '../../../src/options/errors.js';
import { type Duration, parseDuration, type Size } from '../../../src/options/units.js';

describe('durations', () => {
  it.each([
    [0, 0],
    [90, 90],
    [0.25, 0.25],
    ['500ms', 0.5],
    ['1.5ms', 0.0015],
    ['30s', 30],
    ['5m', 300],
    ['1.5h', 5400],
    ['1d', 86_400],
    ['0.1m', 6],
  ])('reads %j as %d seconds', (input, seconds) => {
    expect(parseDuration(input)).toBe(seconds);
  });

  it.each([
    '5 min',
    '5min',
    '5 m',
    ' 5m',
    '5m ',
    '5M',
    '5',
    '',
    'm',
    '.5h',
    '5.h',
    '-1s',
    '+1s',
    '1e3s',
    '1_000s',
    '0x5s',
    '1h30m',
    '٣s',
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    null,
    undefined,
    true,
    {},
    [5],
  ])('rejects %j as a duration instead of guessing [K06]', (input) => {
    expect(() => parseDuration(input)).toThrow(HotpathError);
  });

  it('asks whether a number that is too large is meant as milliseconds', () => {
    expect(() => parseDuration(Date.UTC(2026, 0))).toThrow(
      /at most ten years \(3650d\), in seconds \(milliseconds\? then write '1767225600000ms'\)/,
    );
  });

  it('rejects a lifetime of more than one year [K06]', () => {
    const ttlOf = (ttl: unknown) => resolveConfig({ routes: { '/x': { cache: { ttl: ttl as Duration } } } });
    expect(() => ttlOf('365d')).not.toThrow();
    expect(() => ttlOf('600000000ms')).not.toThrow();
    expect(() => ttlOf(600_000_000)).toThrow(
      /ttl: expected a duration of at most one year .* \(milliseconds\? then write '600000000ms'\)/,
    );
    expect(() => ttlOf('366d')).toThrow(/at most one year \(365d\), in seconds, received '366d'/);
  });

  it('rejects more than ten years, in text and in digits', () => {
    expect(parseDuration('3650d')).toBe(315_360_000);
    expect(() => parseDuration('3651d')).toThrow(/at most ten years/);
    expect(() => parseDuration(Date.UTC(2026, 0))).toThrow(/at most ten years/);
    expect(() => parseDuration(`${'9'.repeat(400)}s`)).toThrow(HotpathError);
  });
});

describe('sizes', () => {
  const limitOf = (limit: unknown) => {
    const { sizeLimit } = resolveConfig({ sizeLimit: { limit: limit as Size } });
    return (sizeLimit as SizeLimitSettings).limit;
  };

  it.each([
    [0, 0],
    [1500, 1500],
    ['512b', 512],
    ['1kb', 1024],
    ['1.5kb', 1536],
    ['10mb', 10_485_760],
    ['10MB', 10_485_760],
    ['10 MB', 10_485_760],
    ['10 kB', 10_240],
    ['512 B', 512],
    ['1gb', 1_073_741_824],
  ])('reads %j as %d bytes', (input, bytes) => {
    expect(limitOf(input)).toBe(bytes);
  });

  it('rounds a fraction of a byte down when a larger unit made it', () => {
    expect(limitOf('0.3kb')).toBe(307);
  });

  it.each([
    '10 mbb',
    '10mbb',
    '10  mb',
    '10\tmb',
    ' 10mb',
    '10M B',
    '10k',
    '10',
    '10 bytes',
    '',
    'mb',
    '-1kb',
    '1e3b',
    '0.5b',
    1.5,
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '99999999999gb',
    null,
    false,
    {},
    ['1kb'],
  ])('rejects %j as a size instead of guessing [F06]', (input) => {
    expect(() => limitOf(input)).toThrow(HotpathError);
  });

  it('names the accepted forms and the received value', () => {
    expect(() => limitOf('10 mbb')).toThrow(
      "sizeLimit.limit: expected a size such as '64mb' or a number of bytes, received '10 mbb'",
    );
  });
});
