import { hotpath } from 'hotpath';
import { performanceApi } from 'hotpath/admin';
import {
  type IndexBuild,
  type IndexReport,
  monitorPool,
  type PostgresOptions,
  postgres,
} from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPgBouncer } from '../../helpers/pgbouncer.js';
import { hasHypopg, startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('api');
  admin = new pg.Client(url);
  await admin.connect();
  if (hasHypopg) await admin.query('CREATE EXTENSION hypopg');
  await admin.query(`
    CREATE TABLE items (id int PRIMARY KEY, kind int, name text);
    INSERT INTO items SELECT n, n % 5000, 'item ' || n FROM generate_series(1, 50000) n;
    ANALYZE items;
    CREATE TABLE victim (id int);
    CREATE ROLE reader LOGIN;
    GRANT SELECT ON items TO reader`);
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const later = closeAfterEach();
const LEVEL = hasHypopg ? 'verified' : 'estimated';
const CHANGE = { 'content-type': 'application/json', 'x-hotpath-request': '1' };

async function serve(indexes: PostgresOptions['indexes'], user = 'postgres', address = url, queries = 60) {
  const perf = later(hotpath());
  const pool = monitorPool(new pg.Pool({ connectionString: address.replace('postgres@', `${user}@`) }), {
    perf,
  });
  later({ close: () => pool.end() });
  const db = later(postgres(pool, { perf, indexes: { levels: [LEVEL], ...indexes } }));
  const app = express5();
  app.use('/perf', performanceApi({ perf, postgres: db, authorize: () => true }));
  const { url: base } = later(await listen(app));
  for (let n = 0; n < queries; n++) await pool.query('SELECT * FROM items WHERE kind = $1', [n]);
  const post = (body: unknown, headers: Record<string, string> = CHANGE) =>
    fetch(`${base}/perf/indexes/optimize`, { method: 'POST', headers, body: JSON.stringify(body) });
  const advise = async () => {
    const response = await post({});
    const { report } = (await expectDocumented(response, 'POST', '/indexes/optimize')) as {
      report: IndexReport;
    };
    return report.missing;
  };
  return { base, post, advise };
}

const names = async () =>
  (await admin.query(`SELECT relname FROM pg_class WHERE relname LIKE 'hotpath%' ORDER BY 1`)).rows.map(
    ({ relname }) => relname as string,
  );

describe('POST /indexes/optimize', () => {
  it('builds what a dry run has advised, and any instance reports state and gain', async () => {
    const [first, second] = [await serve({ apply: true }), await serve({ apply: true })];
    const [advice] = await first.advise();
    expect(advice).toMatchObject({ level: LEVEL, table: 'items' });
    expect(await names()).toEqual([]);
    const ids = [advice!.id];
    // Two instances, and a repeated request: the second instance has seen no dry run.
    const replies = await Promise.all([first, second, first].map(({ post }) => post({ dryRun: false, ids })));
    expect(replies.map(({ status }) => status)).toEqual([202, 202, 202]);
    const location = new URL(replies[0]!.headers.get('location')!, replies[0]!.url);
    expect(location.pathname + location.search).toBe(`/perf/indexes/builds?ids=${ids}`);
    await expectDocumented(replies[0]!, 'POST', '/indexes/optimize');
    for (const { base } of [first, second]) {
      let build: IndexBuild | undefined;
      await waitFor(async () => {
        const response = await fetch(`${base}/perf/indexes/builds?ids=${ids}`);
        const { volatile } = (await expectDocumented(response, 'GET', '/indexes/builds')) as {
          volatile: { builds: IndexBuild[] };
        };
        return (build = volatile.builds[0])?.state === 'built';
      });
      expect(build!.gains).toMatchObject([{ text: expect.stringContaining('kind = ?') }]);
      const { costBefore, costAfter, buffersBefore, buffersAfter, buffersReason } = build!.gains![0]!;
      expect(costAfter).toBeLessThan(costBefore / 2);
      expect(buffersReason).toBeNull();
      expect(buffersAfter).toBeLessThan(buffersBefore! / 2);
    }
    expect(await names()).toHaveLength(1);
    expect(await first.advise()).toEqual([]);
    // One that has seen neither the dry run nor the build, which is no longer advised.
    const late = await serve({ apply: true });
    expect((await late.post({ dryRun: false, ids })).status).toBe(202);
    await admin.query(`DROP INDEX "${(await names())[0]}"`);
  });

  it('refuses everything but ids of advice, and runs no SQL of a request [J06]', async () => {
    const { post, base } = await serve({ apply: true });
    const sql = 'i ON items(id); DROP TABLE victim; --';
    const bodies: unknown[] = [
      { dryRun: false },
      { dryRun: false, ids: [] },
      { dryRun: false, ids: [sql] },
      { dryRun: false, ids: sql },
      { dryRun: false, ids: [{ ddl: sql }] },
      { dryRun: false, ids: ['0123456789abcdef'], ddl: sql },
      { dryRun: false, ids: ["0123456789abcde'"] },
      { dryRun: sql, ids: ['0123456789abcdef'] },
      { dryRun: true, ids: ['0123456789abcdef'] },
      { name: sql, table: sql, schema: sql },
      [sql],
      sql,
    ];
    for (const body of bodies) expect((await post(body)).status, JSON.stringify(body)).toBe(400);
    const unknown = await post({ dryRun: false, ids: ['0123456789abcdef'] });
    expect(unknown.status).toBe(404);
    expect(await unknown.text()).toContain('unknown-id');
    for (const query of [`ids=${encodeURIComponent(sql)}`, 'ids=', `id=${encodeURIComponent("' OR 1=1")}`])
      expect((await fetch(`${base}/perf/indexes/builds?${query}`)).status).toBe(400);
    expect((await admin.query('SELECT count(*)::int AS n FROM victim')).rows).toEqual([{ n: 0 }]);
    expect(await names()).toEqual([]);
  });

  it('cannot be sent by pages of other sites, and a GET changes nothing [J04]', async () => {
    const { post, base } = await serve({ apply: true });
    const apply = { dryRun: false, ids: ['0123456789abcdef'] };
    const foreign: Record<string, string>[] = [
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/x-www-form-urlencoded', 'x-hotpath-request': '1' },
      { 'content-type': 'application/json' },
      { ...CHANGE, 'sec-fetch-site': 'cross-site' },
    ];
    for (const headers of foreign) expect([403, 415]).toContain((await post(apply, headers)).status);
    expect((await fetch(`${base}/perf/indexes/optimize?dryRun=false`)).status).toBe(405);
  });

  it('says that the connection goes through a pooler, and that the server is away', async () => {
    const bouncer = await startPgBouncer(url);
    later(bouncer);
    const paths = (base: string) => [
      fetch(`${base}/perf/indexes`),
      fetch(`${base}/perf/indexes/optimize`, { method: 'POST', headers: CHANGE, body: '{}' }),
    ];
    const pooled = await serve(undefined, 'postgres', bouncer.url);
    for (const response of await Promise.all(paths(pooled.base))) {
      expect(response.status).toBe(409);
      expect(await response.text()).toContain('goes through a pooler');
    }
    const away = await serve(undefined, 'postgres', 'postgres://secret@127.0.0.1:1/secret', 0);
    for (const response of await Promise.all(paths(away.base))) {
      expect(response.status).toBe(503);
      expect(await response.text()).not.toContain('secret');
    }
  });

  it('is refused with the reason, by the config and for a role that may only read [J12]', async () => {
    const off = await serve(undefined);
    const [advice] = await off.advise();
    const body = { dryRun: false, ids: [advice!.id] };
    const refused = await off.post(body);
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('apply-off')]);
    const reader = await serve({ apply: true }, 'reader');
    const denied = await reader.post(body);
    expect([denied.status, await denied.text()]).toEqual([403, expect.stringContaining('not-owner')]);
    expect(await names()).toEqual([]);
  });
});
