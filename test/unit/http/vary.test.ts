import { describe, expect, it } from 'vitest';
import { addVary, parseVary } from '../../../src/http/vary.js';
import { expectLinear } from '../../helpers/linear.js';

describe('parseVary', () => {
  it.each<[string, string | string[] | undefined, readonly string[] | '*' | undefined]>([
    ['absent', undefined, []],
    ['empty', '', []],
    ['only commas', ', ,,', []],
    ['one name', 'Origin', ['origin']],
    ['several names, sorted', 'X-B, Accept', ['accept', 'x-b']],
    ['a name twice, in two cases', 'Accept, ACCEPT', ['accept']],
    ['several lines', ['Accept', 'Origin, Cookie'], ['accept', 'cookie', 'origin']],
    ['tabs and spaces', '\tAccept \t,  Origin ', ['accept', 'origin']],
    ['every character of a token', "!#$%&'*+-.^_`|~09az", ["!#$%&'*+-.^_`|~09az"]],
    ['a name from Object.prototype', '__proto__, constructor', ['__proto__', 'constructor']],
  ])('reads %s [A07]', (_case, value, names) => {
    expect(parseVary(value)).toEqual(names);
  });

  it.each(['*', 'Accept, *', ' * ', 'foo bar, *, x'.slice(9)])(
    'reads %j as any request field [A07]',
    (value) => {
      expect(parseVary(value)).toBe('*');
    },
  );

  it.each([
    ['two words', 'foo bar'],
    ['a quoted name', '"accept"'],
    ['a name with a colon', 'accept:'],
    ['a wide character', 'accépt'],
    ['a control character', 'a\u0007b'],
    ['a name of 129 characters', 'a'.repeat(129)],
    ['17 names', Array.from({ length: 17 }, (_, i) => `n${i}`).join(',')],
  ])('rejects %s [A07]', (_case, value) => {
    expect(parseVary(value)).toBeUndefined();
  });

  it('reads 16 kB of any input in linear time [K08]', () => {
    for (const part of ['a,', ' ,', '* ', '\t', 'a ', ',']) {
      expectLinear(parseVary, (length) => part.repeat(length / part.length));
    }
  });
});

describe('addVary', () => {
  it.each<[string | string[] | undefined, string[], string]>([
    [undefined, ['Cookie'], 'Cookie'],
    ['', ['Cookie'], 'Cookie'],
    ['Accept', ['Cookie'], 'Accept, Cookie'],
    ['accept, COOKIE', ['Cookie', 'Origin'], 'accept, COOKIE, Origin'],
    [['Accept', 'Origin'], ['origin', 'x-a'], 'Accept, Origin, x-a'],
    ['*', ['Cookie'], '*'],
    ['Accept, *', ['Cookie'], 'Accept, *'],
    ['Accept', [], 'Accept'],
  ])('merges %j with %j to %j [A08]', (value, names, expected) => {
    expect(addVary(value, names)).toBe(expected);
  });
});
