import type { QueueOptions, WorkerOptions } from 'bullmq';
import { createRecordTables, postgresRecords } from './records/postgres.js';
import { redisRecords } from './records/redis.js';
import type { JobSettings } from './settings.js';
import type { JobRecords } from './types.js';

/** The queue of forecasts, by the same name on both kinds of server. */
export const QUEUE = 'forecasts';

/** Where the jobs are, for `Queue` and `Worker` of bullmq. */
export interface QueueStore {
  readonly kind: 'redis' | 'postgres';
  /** The options that say where, and the factory for what is not Redis. */
  readonly options: Pick<QueueOptions & WorkerOptions, 'connection'>;
  readonly backend: undefined;
  readonly records: JobRecords;
  close(): Promise<void>;
}

/**
 * Connects to the server that holds the jobs.
 *
 * @param role of this process. A `server` fails fast, so that its clients get an error. A `worker` waits for a
 * database that is away.
 */
export async function openQueueStore(
  settings: Pick<JobSettings, 'redisUrl' | 'databaseUrl'>,
  role: 'server' | 'worker',
): Promise<QueueStore> {
  const { redisUrl, databaseUrl } = settings;
  if (redisUrl !== undefined) return openRedis(redisUrl, role);
  if (databaseUrl !== undefined) return openPostgres(databaseUrl, role);
  throw new Error('background jobs outside this process need JOBS_REDIS_URL, REDIS_URL or DATABASE_URL');
}

async function openRedis(url: string, role: 'server' | 'worker'): Promise<QueueStore> {
  const { Redis } = await import('ioredis');
  // A connection of its own: the commands of a worker block, and bullmq requires `null` for them.
  const redis = new Redis(url, {
    maxRetriesPerRequest: role === 'worker' ? null : 1,
    enableReadyCheck: true,
  });
  // Without a listener, each failed attempt to connect would be printed with its stack.
  redis.on('error', () => {});
  return {
    kind: 'redis',
    options: { connection: redis },
    backend: undefined,
    records: redisRecords(redis),
    close: async () => {
      redis.disconnect();
    },
  };
}

async function openPostgres(connectionString: string, role: 'server' | 'worker'): Promise<QueueStore> {
  const [{ default: pg }, { createPostgresBackend, runMigrations }] = await Promise.all([
    import('pg'),
    import('bullmq'),
  ]);
  const pool = new pg.Pool({
    connectionString,
    // A worker listens on one of them.
    max: 5,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    // bullmq names its tables without their schema.
    options: '-c search_path=bullmq,public',
    application_name: `products-api jobs (${role})`,
  });
  pool.on('error', () => {});
  try {
    await migrate(pool, runMigrations);
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    kind: 'postgres',
    options: { connection: pool as never },
    backend: createPostgresBackend as never,
    records: postgresRecords(pool),
    close: () => pool.end(),
  };
}

/** The tables of bullmq and of the records. Several processes may do it at a time. */
async function migrate(
  pool: import('pg').Pool,
  runMigrations: typeof import('bullmq').runMigrations,
): Promise<void> {
  const client = await pool.connect();
  try {
    await runMigrations(client as never);
    await createRecordTables(client);
  } finally {
    client.release(true);
  }
}
