/** Settings of the background jobs. */
export interface JobSettings {
  /** `JOBS_REDIS_URL`, or else `REDIS_URL`. Default: none. */
  redisUrl: string | undefined;
  /** `DATABASE_URL`, which holds the jobs if there is no Redis. Default: none; jobs run in this process. */
  databaseUrl: string | undefined;
  /** `MAX_CONCURRENT_JOBS`: jobs that a worker runs at a time. Default: 10. */
  maxConcurrentJobs: number;
  /** `JOB_TIMEOUT`: seconds that a run of a job may take. Default: 3600. */
  timeoutSeconds: number;
  /** `WORKER_HEARTBEAT_INTERVAL`: seconds. A worker that misses two heartbeats loses its jobs. Default: 30. */
  heartbeatSeconds: number;
  /** `WORKER_SHUTDOWN_TIMEOUT`: seconds that a worker may finish its jobs in, before others get them. Default: 20. */
  shutdownSeconds: number;
  /** Seconds before the second run of a job that failed; they double. Default: 1. */
  backoffSeconds: number;
}

/** @throws {Error} with the invalid variable, its value and the accepted values. */
export function jobSettingsFromEnv(env: NodeJS.ProcessEnv): JobSettings {
  return {
    redisUrl: redisUrl(env, 'JOBS_REDIS_URL') ?? redisUrl(env, 'REDIS_URL'),
    databaseUrl: env.DATABASE_URL || undefined,
    maxConcurrentJobs: seconds(
      env,
      'MAX_CONCURRENT_JOBS',
      10,
      /^[1-9]\d{0,2}$/,
      'a whole number from 1 to 999',
    ),
    timeoutSeconds: seconds(env, 'JOB_TIMEOUT', 3_600),
    heartbeatSeconds: seconds(env, 'WORKER_HEARTBEAT_INTERVAL', 30),
    shutdownSeconds: seconds(env, 'WORKER_SHUTDOWN_TIMEOUT', 20),
    backoffSeconds: 1,
  };
}

function seconds(
  env: NodeJS.ProcessEnv,
  name: string,
  otherwise: number,
  accepted = /^\d{1,5}(\.\d{1,3})?$/,
  described = 'seconds from 0.1 to 99999',
): number {
  const text = env[name];
  if (text === undefined || text === '') return otherwise;
  const value = accepted.test(text) ? Number(text) : Number.NaN;
  if (value >= 0.1) return value;
  throw new Error(`${name} is "${text}"; accepted: ${described}`);
}

function redisUrl(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  if (/^rediss?:\/\/\S+$/.test(text)) return text;
  // Its value may hold a password.
  throw new Error(`${name} is not a URL that begins with redis:// or rediss://`);
}
