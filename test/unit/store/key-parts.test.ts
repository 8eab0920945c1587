import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinParts, partAt } from '../../../src/store/key-parts.js';

describe('parts at the start of a key', () => {
  it('are read as they were joined, with any content before and after', () => {
    const part = fc.option(fc.oneof(fc.string(), fc.constantFrom('1:', '-:', '3:abc')), { nil: undefined });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), fc.string(), (parts, rest) => {
        const key = joinParts(parts) + rest;
        parts.forEach((each, at) => {
          expect(partAt(key, at)).toBe(each);
        });
      }),
    );
  });

  it.each(['', 'x', 'x:y', '9:abc', '-', '1e1:aaaaaaaaaa'])('are missing in %j', (text) => {
    expect(partAt(text, 0)).toBeUndefined();
  });
});
