import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type MonitorPoolOptions, monitorOf, monitorPool, type QueryPlanEvent } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('explained');
  const client = new pg.Client(url);
  await client.connect();
  await client.query(
    `CREATE TABLE people AS SELECT n AS id, 'person ' || n AS name FROM generate_series(1, 1000) n`,
  );
  await client.query('CREATE TABLE calls (name text)');
  await client.query(`CREATE FUNCTION note(text) RETURNS text LANGUAGE plpgsql VOLATILE AS
    $$ BEGIN INSERT INTO calls VALUES ($1); RETURN $1; END $$`);
  // Declared as stable, so that EXPLAIN runs it: a function that lies about itself.
  await client.query(`CREATE FUNCTION note_quietly(text) RETURNS text LANGUAGE plpgsql STABLE AS
    $$ BEGIN PERFORM note($1); RETURN $1; END $$`);
  await client.end();
});
afterAll(() => server?.stop());

const pools: pg.Pool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) {
    monitorOf(pool)?.close();
    await pool.end();
  }
});

function open(options: MonitorPoolOptions) {
  const pool = monitorPool(new pg.Pool({ connectionString: url, max: 2 }), { slow: 0, ...options });
  pools.push(pool);
  return { pool, slow: () => monitorOf(pool)!.figures().slowQueries };
}

describe('plans of slow queries', () => {
  it('show how PostgreSQL finds the rows, without a value in them [J13]', async () => {
    const events: QueryPlanEvent[] = [];
    const listener = (message: unknown) => void events.push(message as QueryPlanEvent);
    subscribe('hotpath:query-plan', listener);
    const { pool, slow } = open({ explain: true });
    try {
      await pool.query(
        `SELECT id FROM people /* token=abc123 */ WHERE name = $1 AND id > 4711 AND name <> ANY ($2) ORDER BY id`,
        ['secret person', ['hidden one', 'hidden two']],
      );
      await waitFor(() => slow()[0]?.plan);
      const plan = slow()[0]!.plan!;
      expect(plan.join('\n')).toMatch(/^Sort {2}\(cost=\d+\.\.\d+ rows=\d+\)\n.*-> Seq Scan on people/s);
      expect(plan.join('\n')).toContain('(name = ?::text)');
      expect(plan.join('\n')).toContain('(id > ?)');
      expect(events).toEqual([{ text: slow()[0]!.text, plan }]);
      expect(JSON.stringify([slow(), events])).not.toMatch(/secret|hidden|4711|abc123/);
    } finally {
      unsubscribe('hotpath:query-plan', listener);
    }
  });

  it('are made of one SELECT alone, which does not run, and whose functions cannot write', async () => {
    const { pool, slow } = open({ explain: true });
    const refused = [
      'SELECT 1; SELECT 2',
      `INSERT INTO calls VALUES ('x')`,
      'SELECT 1 AS n INTO made',
      'BEGIN',
    ];
    for (const text of refused) await pool.query(text);
    await pool.query('ROLLBACK');
    await pool.query(`SELECT note('once')`);
    await waitFor(() => slow().find(({ text, plan }) => plan && text === 'SELECT note(?)'));
    expect(slow().filter(({ plan }) => plan)).toHaveLength(1);
    const { rows } = await pool.query('SELECT name FROM calls ORDER BY 1');
    expect(rows).toEqual([{ name: 'once' }, { name: 'x' }]);
  });

  it('are rare: one for each statement, and one a second', async () => {
    const { pool, slow } = open({ explain: true });
    for (let n = 0; n < 5; n++) await pool.query(`SELECT id FROM people WHERE id = ${n}`);
    await pool.query('SELECT name FROM people');
    await waitFor(() => slow().find(({ plan }) => plan));
    await pool.query('SELECT name FROM people');
    const planned = new Set(slow().flatMap(({ text, plan }) => (plan ? [text] : [])));
    expect([...planned]).toEqual(['SELECT id FROM people WHERE id = ?']);
  });

  it('leave the app alone where they fail, and are absent without the option', async () => {
    const on = open({ explain: true });
    const off = open({});
    // The planner runs the function to guess the number of rows.
    await on.pool.query(`SELECT id FROM people WHERE name = note_quietly('never') AND id < 3`);
    const { rows: before } = await off.pool.query('SELECT count(*) FROM calls');
    const sessions = `SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'hotpath%'`;
    await waitFor(async () => (await off.pool.query(sessions)).rowCount === 0);
    expect(on.slow()[0]!.plan).toBeNull();
    expect((await off.pool.query('SELECT count(*) FROM calls')).rows).toEqual(before);
    expect((await on.pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    expect(off.slow()[0]!.plan).toBeNull();
  });
});
