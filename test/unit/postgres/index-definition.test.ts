import { describe, expect, it } from 'vitest';
import { ddlOf, type IndexDefinition, idOf, indexNameOf } from '../../../src/postgres/indexes/definition.js';

const orders: IndexDefinition = {
  schema: 'shop',
  table: 'orders',
  method: 'btree',
  keys: [{ column: 'status' }, { column: 'placed_at', order: 'desc' }],
  include: [],
};

describe('the DDL of an index', () => {
  it('names keys, order, operator classes, stored columns and the predicate', () => {
    const name = indexNameOf(orders);
    expect(name).toMatch(/^hotpath_orders_status_placed_at_[0-9a-f]{8}$/);
    expect(ddlOf(orders, { concurrently: true })).toBe(
      `CREATE INDEX CONCURRENTLY "${name}" ON "shop"."orders" USING btree ("status", "placed_at" DESC)`,
    );
    const full: IndexDefinition = {
      ...orders,
      keys: [
        { expression: 'lower(email)', opclass: { schema: 'pg_catalog', name: 'text_pattern_ops' } },
        { column: 'placed_at', order: 'desc', nulls: 'last' },
        { column: 'id', nulls: 'last' },
      ],
      include: ['total'],
      where: 'shipped_at IS NULL',
    };
    expect(ddlOf(full, { only: true })).toBe(
      `CREATE INDEX "${indexNameOf(full)}" ON ONLY "shop"."orders" USING btree (` +
        '(lower(email)) "pg_catalog"."text_pattern_ops", "placed_at" DESC NULLS LAST, "id") INCLUDE ("total") WHERE (shipped_at IS NULL)',
    );
  });

  it.each(['i"; DROP TABLE victim; --', "o'rders", 'a.b', 'id) ; --', 'größe', '"', '\\'])(
    'keeps %j inside one identifier, wherever it is a name [J06]',
    (name) => {
      const quoted = `"${name.replaceAll('"', '""')}"`;
      const ddl = ddlOf({ ...orders, schema: name, table: name, keys: [{ column: name }], include: [name] });
      expect(ddl.endsWith(` ON ${quoted}.${quoted} USING btree (${quoted}) INCLUDE (${quoted})`)).toBe(true);
      expect(ddl.replace(/"(?:[^"]|"")*"/g, '').replaceAll(' ', '')).toBe(
        'CREATEINDEXON.USINGbtree()INCLUDE()',
      );
    },
  );

  it('refuses a null character and an empty name [J06]', () => {
    expect(() => ddlOf({ ...orders, table: 'a\0b' })).toThrow('not a name');
    expect(() => ddlOf({ ...orders, schema: '' })).toThrow('not a name');
    expect(() => ddlOf({ ...orders, keys: [{}] })).toThrow('a column or an expression');
  });

  it('has a name of at most 63 bytes that differs where only the end of long names differs [J08]', () => {
    const long = (end: string) => indexNameOf({ ...orders, table: `${'é'.repeat(60)}${end}` });
    expect(Buffer.byteLength(long('a'))).toBeLessThanOrEqual(63);
    expect(long('a')).not.toBe(long('b'));
    expect(long('a').isWellFormed()).toBe(true);
  });

  it('has an id that depends on what is built, not on how', () => {
    expect(idOf(orders)).toBe(idOf({ ...orders, keys: [...orders.keys] }));
    expect(idOf(orders)).toMatch(/^[0-9a-f]{16}$/);
    expect(idOf({ ...orders, include: ['id'] })).not.toBe(idOf(orders));
  });
});
