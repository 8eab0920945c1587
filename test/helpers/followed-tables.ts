import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import {
  type ChangeMapping,
  type PostgresDatabase,
  type PurgeOnChangeOptions,
  postgres,
} from 'hotpath/postgres';
import pg from 'pg';
import { findPostgres } from '../setup/services.js';

const run = promisify(execFile);

/** Runs statements in a `psql` process. */
export async function psql(url: string, ...statements: readonly string[]): Promise<void> {
  const ours = join(findPostgres()!, 'psql');
  const commands = statements.flatMap((statement) => ['-c', statement]);
  await run(existsSync(ours) ? ours : 'psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', ...commands, url]);
}

/** An instance of hotpath whose cache follows the tables, with values of functions as its entries. */
export interface Follower {
  readonly perf: Hotpath;
  readonly db: PostgresDatabase;
  readonly pool: pg.Pool;
  /** Stores an entry with each of the tags. */
  fill(...tags: readonly string[]): Promise<void>;
  /** The tags whose entries are gone. Fills them again. */
  purged(): Promise<string[]>;
  stop(): Promise<void>;
}

/** Options of `follow`. */
export interface FollowOptions extends PurgeOnChangeOptions {
  readonly config?: HotpathConfig;
  /** Where the reader connects, if not where the pool does. */
  readonly readerUrl?: string;
}

/** Starts an instance. */
export async function follow(
  url: string,
  mapping: ChangeMapping,
  { config = {}, readerUrl, ...options }: FollowOptions = {},
): Promise<Follower> {
  const perf = hotpath({ timing: false, compression: false, metrics: false, ...config });
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on('error', () => {});
  const db = postgres(pool, {
    perf,
    ...(readerUrl !== undefined && { connection: { connectionString: readerUrl } }),
  });
  const tags = new Set<string>();
  const fill = async (...added: readonly string[]) => {
    for (const tag of added) {
      tags.add(tag);
      await perf.cache.set(`entry of ${tag}`, true, { ttl: '1h', tags: [tag] });
    }
  };
  let isStopped = false;
  const stop = async () => {
    if (isStopped) return;
    isStopped = true;
    await db.close();
    await pool.end();
    await perf.close();
  };
  try {
    await db.purgeOnChange(mapping, options);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    perf,
    db,
    pool,
    fill,
    stop,
    async purged() {
      const gone: string[] = [];
      for (const tag of tags) if (!(await perf.cache.has(`entry of ${tag}`))) gone.push(tag);
      await fill(...gone);
      return gone;
    },
  };
}
