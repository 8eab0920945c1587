import { describe, expect, it } from 'vitest';
import { chooseEncoding } from '../../../src/http/accept-encoding.js';
import { expectLinear } from '../../helpers/linear.js';

const OFFERED = ['br', 'gzip'] as const;

describe('chooseEncoding', () => {
  it.each([
    ['gzip', 'gzip'],
    ['gzip, br', 'br'],
    ['GZIP', 'gzip'],
    ['x-gzip', 'gzip'],
    ['gzip;q=1, br;q=0.5', 'gzip'],
    ['gzip;q=0.001', 'gzip'],
    ['gzip ; Q=0.8 , br\t;\tq=0.7', 'gzip'],
    ['*', 'br'],
    ['br;q=0, *', 'gzip'],
    ['gzip;q=0.5, *;q=1', 'br'],
    ['deflate, zstd, gzip', 'gzip'],
    ['identity;q=0.5, gzip;q=0.5', 'gzip'],
    ['identity;q=0, gzip', 'gzip'],
    [',, gzip,', 'gzip'],
  ])('answers %j with %s [E03]', (header, coding) => {
    expect(chooseEncoding(header, OFFERED)).toBe(coding);
  });

  it.each([
    undefined,
    '',
    ' ',
    'identity',
    'identity;q=0',
    'identity, gzip;q=0.5',
    'gzip;q=0',
    'gzip;q=0.000, br;q=0',
    '*;q=0',
    'deflate, zstd',
    'gzip;q=1.5',
    'gzip;q=-1',
    'gzip;q=',
    'gzip;q=abc',
    'gzip;q=0.1234',
    'gzip;level=9',
    'gzip gzip',
    'gzip;q=0, gzip',
    'gzipped',
    '"gzip"',
  ])('leaves the body unencoded for %j [E03]', (header) => {
    expect(chooseEncoding(header, OFFERED)).toBeUndefined();
  });

  it('uses the order of the offered codings among equals', () => {
    expect(chooseEncoding('br, gzip', ['gzip', 'br'])).toBe('gzip');
    expect(chooseEncoding('*', ['deflate'])).toBe('deflate');
  });

  it.each<[string, (length: number) => string]>([
    ['a long list', (length) => Array.from({ length: length / 10 }, (_, i) => `c${i};q=0.5`).join(',')],
    ['blanks', (length) => `gzip${' \t'.repeat(length / 2)}x`],
    ['semicolons', (length) => `gzip${';'.repeat(length)}`],
    ['commas', (length) => ','.repeat(length)],
    ['digits', (length) => `gzip;q=0.${'0'.repeat(length)}`],
  ])('reads 16 kB of %s in linear time [E03]', (_name, make) => {
    expectLinear((header) => chooseEncoding(header, OFFERED), make);
  });
});
