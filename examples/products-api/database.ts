import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import pg from 'pg';
import { countQuery } from './query-count.js';

/** The part of a database that the routes use. Each call sends one statement to PostgreSQL. */
export interface Database {
  query<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

/** A connected PostgreSQL, with a function to close it. */
export interface DatabaseConnection {
  readonly pool: pg.Pool;
  /** `true`: PostgreSQL runs inside this process and loses its data when it stops. */
  readonly embedded: boolean;
  /** Where other programs connect, such as `psql`. */
  readonly url: string;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** A `postgres://` URL. Default: none, PostgreSQL runs embedded. */
  url?: string | undefined;
  /** Connections of the pool to a real server. Default: 10. To the embedded one it has a single connection. */
  poolSize?: number | undefined;
}

/** Connects to `url`, or starts PostgreSQL inside this process. Both give the same `pg.Pool`. */
export async function openDatabase(options: DatabaseOptions = {}): Promise<DatabaseConnection> {
  return options.url === undefined ? openEmbedded() : openServer(options.url, options.poolSize ?? 10);
}

/** Wraps a pool so that the statements of each request are counted. */
export function countedDatabase(pool: pg.Pool): Database {
  return {
    async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
      countQuery();
      const result = await pool.query<Row>(text, values as unknown[]);
      return result.rows;
    },
  };
}

function openServer(connectionString: string, max: number): DatabaseConnection {
  const pool = createPool({
    connectionString,
    max,
    connectionTimeoutMillis: 5_000,
    // No query may hold a connection for longer than a client would wait.
    options: '-c statement_timeout=30s',
  });
  return { pool, embedded: false, url: connectionString, close: () => pool.end() };
}

async function openEmbedded(): Promise<DatabaseConnection> {
  const worker = new Worker(new URL('./embedded-worker.js', import.meta.url), { execArgv: [] });
  const [{ port }] = (await once(worker, 'message')) as [{ port: number }];
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  // One permanent connection: it computes one query at a time.
  const pool = createPool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
  const close = async () => {
    await pool.end();
    const exited = once(worker, 'exit');
    worker.postMessage('stop');
    await exited;
  };
  return { pool, embedded: true, url, close };
}

function createPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config);
  // The pool replaces a broken idle connection at the next query. Without a listener the event would end the
  // process.
  pool.on('error', (error) => {
    if (!pool.ending) console.error('database connection lost:', error.message);
  });
  return pool;
}
