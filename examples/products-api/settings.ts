import { databaseFromEnv } from 'hotpath';
import { type JobSettings, jobSettingsFromEnv } from './jobs/settings.js';

/** Settings of the example from the environment; hotpath reads its own variables. */
export interface Settings {
  /** `PORT`. Default: 3000; 0 takes a free one. */
  port: number;
  /** `HOST`: the address to listen on. Default: all. */
  host: string | undefined;
  /** `DATABASE_URL`. Default: none, PostgreSQL runs embedded. */
  databaseUrl: string | undefined;
  /** `DB_POOL_SIZE`. Default: 10. */
  poolSize: number;
  /** `SEED_PRODUCTS`. Default: 20,000. */
  products: number;
  /** `SEED_ORDER_ITEMS`. Default: 200,000. */
  orderItems: number;
  /** `RATE_LIMIT`: requests per minute and client that reach the handlers; 0: no limit. Default: 600,000. */
  rateLimit: number;
  /** `ALLOWED_HOSTS`: host names, separated by commas. Default: those of the machine itself. */
  allowedHosts: readonly string[];
  /** `TRUST_PROXY`: the number of proxies in front. Default: 0. */
  trustProxy: number;
  /** `WARM_ORIGINS`: those that clients use, separated by commas. Default: `http://localhost` with the port. */
  warmOrigins: readonly string[];
  /** `ADMIN_PASSWORD`: of the user `admin` of the performance API. Default: none; a link with a key opens it. */
  adminPassword: string | undefined;
  /** `DEMO=0` or `NODE_ENV=production` turns `?hotpath=off` and `X-SQL-Queries` off. */
  demo: boolean;
  /** Those of the background jobs. */
  jobs: JobSettings;
}

export const LOCAL_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** @throws {Error} with the invalid variable, its value and the accepted values. */
export function settingsFromEnv(env: NodeJS.ProcessEnv): Settings {
  const { url, poolSize = 10 } = databaseFromEnv(env);
  return {
    port: whole(env, 'PORT', 3_000, 65_535),
    host: env.HOST || undefined,
    databaseUrl: url,
    poolSize,
    products: whole(env, 'SEED_PRODUCTS', 20_000, 100_000_000),
    orderItems: whole(env, 'SEED_ORDER_ITEMS', 200_000, 100_000_000),
    rateLimit: whole(env, 'RATE_LIMIT', 600_000, 1_000_000_000),
    allowedHosts: list(env.ALLOWED_HOSTS?.toLowerCase()) ?? LOCAL_HOSTS,
    trustProxy: whole(env, 'TRUST_PROXY', 0, 10),
    warmOrigins: list(env.WARM_ORIGINS) ?? [],
    adminPassword: env.ADMIN_PASSWORD || undefined,
    demo: env.NODE_ENV !== 'production' && env.DEMO !== '0',
    jobs: jobSettingsFromEnv(env),
  };
}

function list(text: string | undefined): string[] | undefined {
  return text
    ?.split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function whole(env: NodeJS.ProcessEnv, name: string, otherwise: number, max: number): number {
  const text = env[name];
  if (text === undefined || text === '') return otherwise;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= max) return value;
  throw new Error(`${name} is "${text}"; accepted: a whole number from 0 to ${max}`);
}
