import { describe, expect, it } from 'vitest';
import { BuildError, readFailure } from '../../../src/postgres/builds/build-error.js';
import { partNameOf, readOwnName } from '../../../src/postgres/builds/names.js';
import { indexNameOf } from '../../../src/postgres/indexes/definition.js';

describe('the failure of a build', () => {
  it.each([
    ['55P03', 'lock-timeout', '55P03', true],
    ['57014', 'cancelled', '57014', false],
    ['22012', 'error', '22012', false],
    // The server may have a free connection later.
    ['53300', 'connection-lost', '53300', true],
    ['08006', 'connection-lost', '08006', true],
    // Of the socket.
    ['EPIPE', 'connection-lost', null, true],
    ['ECONNRESET', 'connection-lost', null, true],
    [undefined, 'connection-lost', null, true],
  ])('with the code %s is read as %s', (code, reason, sqlstate, mayRetry) => {
    expect(readFailure({ code })).toEqual({ reason, sqlstate, mayRetry });
  });

  it('of hotpath itself keeps its reason', () => {
    expect(readFailure(new BuildError('yielded', true))).toMatchObject({ reason: 'yielded', mayRetry: true });
  });
});

describe('the name of an index', () => {
  const definition = {
    schema: 'public',
    table: 'part_stock',
    method: 'btree',
    keys: [{ column: 'quantity_20240101' }],
    include: [],
  } as const;
  const partition = { schema: 'public', name: 'part_stock_1' };

  it('tells a part from a table and a column whose names look like one', () => {
    const name = indexNameOf(definition);
    const own = { hash: name.slice(-8), isPart: false };
    expect(readOwnName(name, { schema: 'public', name: 'part_stock' })).toEqual(own);
    const part = partNameOf(definition, partition);
    expect(readOwnName(part, partition)).toEqual({ ...own, isPart: true });
    expect(readOwnName('hotpath_x', partition)).toBeUndefined();
  });
});
