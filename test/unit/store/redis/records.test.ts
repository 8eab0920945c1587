import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalTarget } from '../../../../src/http/canonical-url.js';
import {
  type RecordKind,
  shortName,
  type Target,
} from '../../../../src/store/invalidation/invalidation-index.js';
import { formatRecord, parseRecord, recordBody } from '../../../../src/store/redis/log/log-records.js';
import { entriesOf } from '../../../../src/store/redis/log/redis-stream.js';
import { anyText } from '../../../helpers/any-text.js';

const EPOCH = 'abc-_123.0123456789abcdef0123';

describe('a record of the log in Redis', () => {
  it('is the same after a round trip through Redis, for any name', () => {
    const name = fc.string({ minLength: 1, maxLength: 200, unit: 'grapheme' });
    const kinds = fc.constantFrom<RecordKind>('purge', 'expire');
    fc.assert(
      fc.property(
        kinds,
        fc.constantFrom<Target['kind']>('tag', 'url', 'pattern'),
        name,
        (kind, of, value) => {
          fc.pre(value.length <= 200);
          const text = formatRecord(EPOCH, recordBody(kind, { kind: of, value }), 1_700_000_000_000);
          const overTheWire = Buffer.from(text).toString();
          expect(parseRecord(overTheWire)).toMatchObject({
            kind,
            epoch: EPOCH,
            at: 1_700_000_000_000,
            target: { kind: of, value },
          });
        },
      ),
    );
  });

  it('names its cause in a form that older versions read as the same record', () => {
    const body = recordBody('purge', { kind: 'tag', value: 'a' }, 'client');
    const text = formatRecord(EPOCH, body, 1_700_000_000_000);
    expect(text).toBe(`1 ${EPOCH} pt 01700000000000 a`);
    expect(parseRecord(text)).toMatchObject({ kind: 'purge', cause: 'client', at: 1_700_000_000_000 });
    // From a version that does not write the cause.
    const older = `1 ${EPOCH} pt 1700000000000 a`;
    expect(parseRecord(older)).toMatchObject({ kind: 'purge', cause: 'app', at: 1_700_000_000_000 });
    expect(formatRecord(EPOCH, recordBody('purge', { kind: 'tag', value: 'a' }), 1_700_000_000_000)).toBe(
      older,
    );
  });

  it.each([
    ['of 16 kB', `/search?q=${'x'.repeat(16_000)}`],
    ['that UTF-8 can not carry', 'half \ud800 a pair'],
  ])('stores a name %s as its hash, short and the same on every instance [B17]', (_name, value) => {
    const body = recordBody('purge', { kind: 'url', value });
    expect(body.value).toMatch(/^#[\w-]{43}$/);
    expect(recordBody('purge', { kind: 'url', value: body.value })).toEqual(body);
  });

  it.each([
    '',
    'hello',
    '{"tag":"x"}',
    '1',
    '1 ',
    '1 x',
    'x abc.def pt 1 a',
    `-1 ${EPOCH} pt 1 a`,
    `1 ${'e'.repeat(200)}.x pt 1 a`,
    '__proto__',
    '*',
    `${'9'.repeat(400)} ${EPOCH} pt 1 a`,
  ])('rejects %j [G24]', (text) => {
    expect(parseRecord(text)).toBeUndefined();
  });

  it.each([
    ['of the next version', `2 ${EPOCH} whatever it may be`],
    ['of an unknown kind', `1 ${EPOCH} zt 1 a`],
    ['about something unknown', `1 ${EPOCH} pz 1 a`],
    ['about nothing', `1 ${EPOCH} pt 1 `],
    ['cut off', `1 ${EPOCH} p`],
    ['with a time that is none', `1 ${EPOCH} pt 1e9 a`],
  ])('treats a record %s as unknown, so it applies to everything [G13]', (_name, text) => {
    expect(parseRecord(text)).toEqual({ kind: 'unknown', epoch: EPOCH });
  });

  it('reads a URL of an earlier version, and applies a hashed one to everything [G13]', () => {
    expect(parseRecord(`1 ${EPOCH} pu 1 /Wiki/%c3%a9/?a=%31`)).toMatchObject({
      kind: 'purge',
      target: { kind: 'url', value: canonicalTarget('/wiki/%C3%A9?a=1') },
    });
    const long = shortName(`/${'x'.repeat(300)}`);
    expect(parseRecord(`1 ${EPOCH} pu 1 ${long}`)).toEqual({ kind: 'unknown', epoch: EPOCH });
  });

  it('writes a URL as a kind that earlier versions apply to everything [G13]', () => {
    expect(recordBody('purge', { kind: 'url', value: '/x' })).toEqual({
      code: 'pn',
      cause: 'app',
      value: '/x',
    });
    expect(recordBody('expire', { kind: 'url', value: '/x' })).toEqual({
      code: 'xn',
      cause: 'app',
      value: '/x',
    });
    expect(recordBody('purge', { kind: 'tag', value: 'x' })).toEqual({
      code: 'pt',
      cause: 'app',
      value: 'x',
    });
  });

  it('never throws for any text [G24]', () => {
    const anything = fc.oneof(
      anyText(),
      fc.string().map((rest) => `1 ${EPOCH} ${rest}`),
    );
    fc.assert(
      fc.property(anything, (text) => {
        const record = parseRecord(text);
        if (record?.kind === 'purge' || record?.kind === 'expire') {
          record.target.matches?.({ stamp: 0, tags: [], url: '/a', path: '/a' });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('applies a pattern that this version cannot read to everything [G13]', () => {
    const record = parseRecord(`1 ${EPOCH} pp 1 /a/:(((`);
    expect(record).toMatchObject({ kind: 'purge', target: { kind: 'pattern' } });
    const target = (record as { target: Target }).target;
    expect(target.matches!({ stamp: 0, tags: [], url: '/elsewhere', path: '/elsewhere' })).toBe(true);
  });
});

describe('replies of XREAD', () => {
  const entries = [
    ['1-0', ['r', 'one']],
    ['2-0', ['r', 'two']],
  ];
  it.each<[string, unknown]>([
    ['RESP2', [['log', entries]]],
    ['RESP3, as a flat list', ['log', entries]],
    ['RESP3, as a map', new Map([['log', entries]])],
    ['RESP3, as an object', { log: entries }],
  ])('are read in the form of %s [G38]', (_name, answer) => {
    expect(entriesOf(answer)).toEqual([
      { id: '1-0', position: 1, text: 'one' },
      { id: '2-0', position: 2, text: 'two' },
    ]);
  });

  it.each<[unknown]>([[null], [undefined], [''], [5], [[]], [{}], [['log']], [[['log']]], [[[]]]])(
    'have no entries in %j [G24]',
    (answer) => {
      expect(entriesOf(answer)).toEqual([]);
    },
  );

  it('have no text for entries that the log did not write [G24]', () => {
    const odd = [['1-0', ['other', 'x']], ['2-0', ['r']], ['3-0'], 'x', null, ['4-0', ['r', 'a', 'b', 'c']]];
    expect(entriesOf([['log', odd]]).map(({ text }) => text)).toEqual(['', '', '', '', '', '']);
  });
});
