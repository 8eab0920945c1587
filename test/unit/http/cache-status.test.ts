import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CacheStatus, formatCacheStatus } from '../../../src/http/cache-status.js';
import { anyText } from '../../helpers/any-text.js';

describe('formatCacheStatus', () => {
  it.each<[CacheStatus, string]>([
    [{}, 'hotpath'],
    [{ hit: true, ttl: 30 }, 'hotpath; hit; ttl=30'],
    [{ fwd: 'uri-miss', ttl: -0.4, collapsed: true }, 'hotpath; fwd=uri-miss; collapsed; ttl=0'],
    [{ fwd: 'uri-miss', collapsed: false }, 'hotpath; fwd=uri-miss; collapsed=?0'],
    [{ hit: true, key: 'http://a/"b' }, 'hotpath; hit; key="http://a/\\"b"'],
    [{ fwd: 'uri-miss', stored: true }, 'hotpath; fwd=uri-miss; stored'],
    [{ fwd: 'uri-miss', stored: false }, 'hotpath; fwd=uri-miss'],
    [{ fwd: 'bypass', detail: 'cookie' }, 'hotpath; fwd=bypass; detail=cookie'],
    [{ fwd: 'bypass', detail: 'x-api-key' }, 'hotpath; fwd=bypass; detail=x-api-key'],
    [{ fwd: 'stale', detail: 'too expensive' }, 'hotpath; fwd=stale; detail="too expensive"'],
    [{ fwd: 'miss', detail: '1st' }, 'hotpath; fwd=miss; detail="1st"'],
    [{ fwd: 'miss', detail: '' }, 'hotpath; fwd=miss; detail=""'],
    [{ fwd: 'miss', detail: 'say "no\\"' }, 'hotpath; fwd=miss; detail="say \\"no\\\\\\""'],
    [
      { fwd: 'miss', detail: 'a\r\nSet-Cookie: x=1\u0000é😀' },
      'hotpath; fwd=miss; detail="aSet-Cookie: x=1"',
    ],
  ])('%j is written %j', (status, text) => {
    expect(formatCacheStatus(status)).toBe(text);
  });

  it('writes one line of ASCII with bounded length and closed quotes for any reason', () => {
    fc.assert(
      fc.property(anyText({ maxLength: 400 }), (detail) => {
        const text = formatCacheStatus({ fwd: 'miss', detail });
        expect(text).toMatch(
          /^hotpath; fwd=miss; detail=(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[\x21-\x7e]+)$/,
        );
        expect(text.length).toBeLessThan(500);
      }),
      { numRuns: 5_000, seed: 5 },
    );
  });
});
