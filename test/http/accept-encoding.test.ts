import { describe, expect, it } from 'vitest';
import { chooseEncoding } from '../../src/http/accept-encoding.js';

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
  ])('E03: %j chooses %s', (header, coding) => {
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
  ])('E03: %j leaves the body as it is', (header) => {
    expect(chooseEncoding(header, OFFERED)).toBeUndefined();
  });

  it('follows the order of what is offered among equals', () => {
    expect(chooseEncoding('br, gzip', ['gzip', 'br'])).toBe('gzip');
    expect(chooseEncoding('*', ['deflate'])).toBe('deflate');
  });

  it.each([
    ['a long list', Array.from({ length: 1000 }, (_, i) => `c${i};q=0.5`).join(',')],
    ['blanks', `gzip${' \t'.repeat(4000)}x`],
    ['semicolons', `gzip${';'.repeat(8000)}`],
    ['commas', ','.repeat(8000)],
    ['digits', `gzip;q=0.${'0'.repeat(8000)}`],
  ])('E03: 8 KB of %s cost less than 5 ms', (_name, header) => {
    chooseEncoding(header, OFFERED);
    const before = process.cpuUsage();
    chooseEncoding(header, OFFERED);
    const { user, system } = process.cpuUsage(before);
    expect(user + system).toBeLessThan(5_000);
  });
});
