import { hotpath } from 'hotpath';
import { performanceApi } from 'hotpath/admin';
import { monitorPool, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
beforeAll(async () => {
  server = await startPostgres({ autovacuum: 'off', max_connections: '12' });
  url = await server.createDatabase('report');
  const owner = new pg.Client(url);
  await owner.connect();
  await owner.query(`
    CREATE TABLE "bad\`name" (id int, name text);
    INSERT INTO "bad\`name" SELECT n, 'name ' || n FROM generate_series(1, 20000) n;`);
  await owner.end();
});
afterAll(() => server?.stop());

const later = closeAfterEach();

function open(connectionString = url, max = 2) {
  const perf = later(hotpath({}));
  const pool = monitorPool(new pg.Pool({ connectionString, max, idleTimeoutMillis: 0 }), {
    perf,
    slow: '50ms',
  });
  later({ close: () => pool.end() });
  const db = later(postgres(pool, { perf, statistics: { cacheFor: 0, timeout: '10s' } }));
  return { perf, pool, db };
}

describe('the report', () => {
  it('lists findings by their importance, with evidence, as JSON and as Markdown', async () => {
    const { perf, pool, db } = open();
    const app = express5();
    app.use('/api', performanceApi({ perf, postgres: db, authorize: () => true }));
    const { url: base } = later(await listen(app));
    for (let n = 0; n < 100; n++) await pool.query('SELECT count(*) FROM "bad`name" WHERE id = $1', [n]);
    await pool.query(`SELECT pg_sleep(0.1), 'secret'`);
    const holder = await pool.connect();
    await holder.query('BEGIN; LOCK TABLE "bad`name" IN SHARE MODE');
    const blocked = pool.query(`DELETE FROM "bad\`name" WHERE name = 'secret'`);
    const read = async (path = '/database/report', headers = {}) => fetch(`${base}/api${path}`, { headers });
    const ids = async () => (await db.report()).findings.map(({ id }) => id);
    await waitFor(async () => (await ids()).includes('blocked-sessions'));
    // biome-ignore lint/suspicious/noExplicitAny: its form is checked against the file.
    const report = (await expectDocumented(await read(), 'GET', '/database/report')) as any;
    const levels = report.findings.map(({ level }: { level: string }) => level);
    expect(levels).toEqual([...levels].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)));
    const found = report.findings.map(({ id }: { id: string }) => id);
    expect(found).toEqual(expect.arrayContaining(['blocked-sessions', 'slow-queries', 'stale-statistics']));
    expect(report.missing).toContainEqual({ figure: 'statements', reason: 'extension-missing' });
    const markdown = await read('/database/report', { accept: 'text/markdown, application/json;q=0.5' });
    expect(markdown.headers.get('content-type')).toBe('text/markdown; charset=utf-8');
    const text = await markdown.text();
    expect(text).toMatch(/^# PostgreSQL report\n/);
    expect(text).toContain('`` public.bad`name ``');
    expect(text).toContain('`SELECT pg_sleep(?), ?`');
    expect(`${text}${JSON.stringify(report)}`).not.toContain('secret');
    expect(await (await read('/database/report?format=markdown')).text()).toContain('# PostgreSQL report');
    expect((await read('/database/report', { accept: '*/*' })).headers.get('content-type')).toContain('json');
    expect((await read('/database/report?format=html')).status).toBe(400);
    await holder.query('COMMIT');
    holder.release();
    await blocked;
  });

  it('says that the server is down, and leaves nothing else out', async () => {
    const { db } = open('postgres://secret:secret@127.0.0.1:1/secret');
    const { findings, missing } = await db.report();
    expect(findings).toMatchObject([{ id: 'unavailable', level: 'critical' }]);
    expect(missing).toHaveLength(14);
    expect(await db.report({ format: 'markdown' })).not.toContain('secret');
  });

  it('advises a size of the pool from the load that was measured', async () => {
    const { pool, db } = open(url, 2);
    expect((await db.poolAdvice()).verdict).toBe('unknown');
    let advice = await db.poolAdvice();
    let isFull = false;
    const worker = async () => {
      while (!isFull) await pool.query('SELECT pg_sleep(0.01)');
    };
    const workers = Array.from({ length: 6 }, worker);
    // The time in which connections are opened counts too.
    await waitFor(async () => {
      advice = await db.poolAdvice();
      return (isFull = advice.inUse! > 1.7);
    });
    await Promise.all(workers);
    expect(advice.inUse!).toBeCloseTo(advice.arrivalRate! * advice.meanUseSeconds!, 5);
    expect(advice.inUse!).toBeGreaterThan(1);
    expect(advice.inUse!).toBeLessThanOrEqual(2.01);
    expect(advice).toMatchObject({ verdict: 'grow', size: 2, instances: 1, wanted: advice.suggested });
    expect(advice.suggested).toBeGreaterThan(4);
    expect(advice.available).toBeLessThanOrEqual(9);
    expect(advice.meanWaitSeconds).toBeGreaterThan(0.01);
    expect(advice.reasoning.join(' ')).toMatch(/Little's law.*The pool was full/);
    expect((await db.report()).findings.map(({ id }) => id)).toContain('pool-size');
  });
});

const ORDER = ['critical', 'warning', 'notice'];
