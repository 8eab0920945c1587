// The loads.
import { SIZES, type SizeName } from '../contenders/bodies.mjs';
import { CONTENDERS, type Coding, type Contender } from './contenders.mjs';

/** How requests are sent: after each response (closed), or at a fixed rate (open). */
export type Model = 'closed' | 'open';

export interface Load {
  readonly id: string;
  readonly title: string;
  readonly model: Model;
  readonly path: string;
  readonly connections: number;
  readonly coding: Coding;
  /**
   * Whether handlers run: `rests` for hits, `runs` for all requests, `behind` for stale hits, where they run in the
   * background. `mixed` is not checked.
   */
  readonly handler: 'rests' | 'runs' | 'mixed' | 'behind';
  /** Whether the client has the response already, and gets a 304. */
  readonly isConditional?: boolean;
  /** Lua script, with its arguments besides the path. */
  readonly script?: 'sequence' | 'cycle' | 'uniform' | 'zipf';
  /**
   * Number of responses that are stored before the measurement. A growing cache allocates memory from the
   * system, and a full one, as in production, does not.
   */
  readonly stores?: number;
  /** Number of keys, for loads with several; each is requested once before the measurement. */
  readonly keys?: number;
  /** Purges by tag per second, during the load. */
  readonly purges?: number;
  /** One connection cannot keep a server busy, so such runs count anyway. */
  readonly isNeverBusy?: boolean;
  /** Rate of an open load: requests per second, or a share of the slowest contender's maximum. */
  readonly rate?: number | { readonly ofSlowest: number } | undefined;
  /** The result of an open load. */
  readonly figure?: 'latency' | 'cpu';
  /** Whether the contenders use Redis. */
  readonly hasRedis?: boolean;
  /** Settings of the memory tier, if the default is too small. */
  readonly maxEntries?: number;
  /** Ids of contenders. */
  readonly contenders: readonly string[];
}

const ids = (choose: (contender: Contender) => boolean) => CONTENDERS.filter(choose).map(({ id }) => id);
const ON_REDIS = ['bare-redis', 'bare-redis-same-headers', 'redis-least'];
const UNCACHED = ['express', 'express-compression'];
/** Its misses, and all but its plain hits, are measured as those of the front door. */
const BEHIND = 'hotpath-behind';
const everybody = ids(({ id }) => !ON_REDIS.includes(id) && id !== BEHIND);
const hitters = (coding: Coding) =>
  ids(
    ({ id, codings }) =>
      !ON_REDIS.includes(id) && codings.includes(coding) && (coding === 'identity' || id !== 'express'),
  );
const handlers = ids(
  ({ id, isReplay }) => !isReplay && ![...ON_REDIS, BEHIND, 'nginx', 'varnish'].includes(id),
);
const HOTPATHS = ['hotpath-front', 'hotpath'];

export interface LoadOptions {
  /** Fewer keys, to test that everything works. */
  readonly isQuick: boolean;
}

export function makeLoads({ isQuick }: LoadOptions): readonly Load[] {
  const keys = isQuick ? 2_000 : 100_000;
  const stores = isQuick ? 500 : 10_000; // hotpath's default
  const base = { model: 'closed', connections: 32, coding: 'identity', handler: 'rests' } as const;
  const hits = (Object.keys(SIZES) as SizeName[]).flatMap((size) =>
    (['identity', 'gzip', 'br'] as const).map(
      (coding): Load => ({
        ...base,
        id: `hit-${size}-${coding}`,
        title: `Hit, ${size.replace('kb', ' kB')}, ${coding}`,
        path: `/hit/${size}`,
        coding,
        contenders: hitters(coding),
      }),
    ),
  );
  const hit10 = { ...base, path: '/hit/10kb' };
  const secondTier = {
    ...base,
    path: '/miss/',
    script: 'uniform', // measures the maximum; with a fixed rate, keys are requested in turn
    model: 'open',
    figure: 'cpu',
    hasRedis: true,
    keys: isQuick ? 500 : 4_000,
    // Far fewer than there are keys, so that memory never contains the next one.
    maxEntries: 100,
  } as const;
  return [
    ...hits,
    {
      ...hit10,
      id: 'not-modified',
      title: '304, 10 kB',
      isConditional: true,
      contenders: everybody.filter((id) => id !== 'fastify'),
    },
    {
      ...hit10,
      id: 'connections-1',
      title: 'Hit, 10 kB, identity, 1 connection',
      connections: 1,
      isNeverBusy: true,
      contenders: everybody,
    },
    {
      ...hit10,
      id: 'connections-256',
      title: 'Hit, 10 kB, identity, 256 connections',
      connections: 256,
      contenders: everybody,
    },
    {
      ...base,
      id: 'miss',
      title: 'Miss, 10 kB JSON, identity',
      path: '/miss/',
      script: 'sequence',
      stores,
      handler: 'runs',
      contenders: handlers,
    },
    {
      ...base,
      id: 'miss-gzip',
      title: 'Miss, 10 kB JSON, gzip',
      path: '/miss/',
      script: 'sequence',
      stores,
      coding: 'gzip',
      handler: 'runs',
      contenders: handlers.filter((id) => !['apicache', 'express'].includes(id)),
    },
    {
      ...base,
      id: 'uncacheable',
      title: 'Uncacheable route (private, no-store), 10 kB JSON, identity',
      path: '/private',
      handler: 'runs',
      contenders: ['hotpath-front', 'hotpath', 'assembled', 'fastify', ...UNCACHED],
    },
    {
      ...base,
      id: 'uncacheable-gzip',
      title: 'Uncacheable route (private, no-store), 10 kB JSON, gzip',
      path: '/private',
      coding: 'gzip',
      handler: 'runs',
      contenders: ['hotpath-front', 'hotpath', 'assembled', 'fastify', 'express-compression'],
    },
    {
      ...base,
      id: 'stale',
      title: 'Stale hit with its background refresh, 10 kB JSON, identity',
      path: '/stale/',
      script: 'cycle',
      // More than a server can serve within the lifetime of a response (`STALE_TTL_SECONDS`).
      keys: 2_000,
      handler: 'behind',
      contenders: [...HOTPATHS, 'express'],
    },
    {
      ...base,
      id: 'streamed-gzip',
      title: 'Streamed text (private, no-store), 10 kB in 20 pieces, gzip',
      path: '/streamed',
      coding: 'gzip',
      handler: 'runs',
      contenders: ['hotpath-front', 'hotpath', 'assembled', 'express-compression'],
    },
    {
      ...base,
      id: 'zipf',
      title: `${keys.toLocaleString('en')} keys of 1 kB, Zipf distribution`,
      path: '/item/',
      script: 'zipf',
      keys,
      handler: 'mixed',
      maxEntries: 2 * keys,
      contenders: handlers,
    },
    {
      ...base,
      id: 'purge-storm',
      title: 'Hits on 100 items of 1 kB, while 100 purges by tag a second go over them',
      path: '/item/',
      script: 'uniform',
      keys: 100,
      purges: 100,
      handler: 'mixed',
      contenders: ids(({ canPurge }) => canPurge === true),
    },
    {
      ...hit10,
      id: 'latency',
      title: 'Latency of hits at a fixed rate, 10 kB, identity',
      model: 'open',
      rate: { ofSlowest: 0.5 },
      figure: 'latency',
      contenders: everybody,
    },
    {
      ...secondTier,
      id: 'second-tier',
      title: 'Hit in Redis at a fixed rate, 10 kB, identity',
      rate: 2_000,
      contenders: [...HOTPATHS, ...ON_REDIS],
    },
    {
      ...secondTier,
      id: 'second-tier-busy',
      title: 'Hit in Redis at three quarters of what the slowest can do, 10 kB, identity',
      rate: { ofSlowest: 0.75 },
      contenders: ['hotpath-front', ...ON_REDIS],
    },
  ];
}
