import { describe, expect, it } from 'vitest';
import { writeSeconds } from '../../../src/postgres/report/findings.js';

describe('the report', () => {
  it.each([
    [0.0002, '0.20 ms'],
    [0.0123, '12 ms'],
    [0.0999, '100 ms'],
    [0.45, '450 ms'],
    [1.25, '1.3 s'],
    [300, '5 min'],
  ])('writes %f s as people do', (seconds, text) => {
    expect(writeSeconds(seconds)).toBe(text);
  });
});
