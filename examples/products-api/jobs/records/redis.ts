import type { JobWorkerFigures } from 'hotpath/admin';
import type { Redis } from 'ioredis';
import type { JobRecords, Outcome } from '../types.js';

const KEY = 'products-api:forecasts';
const OUTCOMES = `${KEY}:outcomes`;
const PROGRESS = `${KEY}:progress`;
const CHANGED = `${KEY}:changed`;
const WORKERS = `${KEY}:workers`;

/** Jobs that one sweep forgets. */
const SWEPT = 1_000;

/**
 * Records in Redis 6.2 or later. No key has a time to live: a Redis that evicts only such keys (`volatile-lru`) keeps
 * them. `sweep` removes old ones instead.
 */
export function redisRecords(redis: Redis): JobRecords {
  return {
    async raise(id, progress) {
      const replies = await redis
        .multi()
        .zadd(PROGRESS, 'GT', progress, id)
        .zadd(CHANGED, Date.now(), id)
        .hexists(OUTCOMES, id)
        .exec();
      return replies?.[2]?.[1] === 1;
    },
    async settle(id, outcome) {
      const replies = await redis
        .multi()
        .hsetnx(OUTCOMES, id, JSON.stringify(outcome))
        .zadd(CHANGED, Date.now(), id)
        .hget(OUTCOMES, id)
        .exec();
      return JSON.parse(replies?.[2]?.[1] as string);
    },
    async read(id) {
      const [progress, outcome] = await Promise.all([redis.zscore(PROGRESS, id), redis.hget(OUTCOMES, id)]);
      return {
        progress: Number(progress ?? 0),
        outcome: outcome === null ? undefined : (JSON.parse(outcome) as Outcome),
      };
    },
    async beat(worker) {
      // Clocks of machines differ: that of Redis says which workers are alive.
      await redis.hset(WORKERS, worker.id, JSON.stringify({ ...worker, beatAt: await timeOf(redis) }));
    },
    async leave(workerId) {
      await redis.hdel(WORKERS, workerId);
    },
    async workers(milliseconds) {
      const values = await redis.hvals(WORKERS);
      const since = (await timeOf(redis)) - milliseconds;
      return values
        .map((value) => JSON.parse(value) as JobWorkerFigures)
        .filter(({ beatAt }) => beatAt >= since)
        .sort((a, b) => (a.id < b.id ? -1 : 1));
    },
    async sweep(milliseconds) {
      const until = Date.now() - milliseconds;
      const ids = await redis.zrange(CHANGED, '-inf', until, 'BYSCORE', 'LIMIT', 0, SWEPT);
      if (ids.length > 0) {
        await redis
          .multi()
          .hdel(OUTCOMES, ...ids)
          .zrem(PROGRESS, ...ids)
          .zrem(CHANGED, ...ids)
          .exec();
      }
      const workers = Object.entries(await redis.hgetall(WORKERS));
      const since = (await timeOf(redis)) - milliseconds;
      const gone = workers.filter(([, value]) => (JSON.parse(value) as JobWorkerFigures).beatAt < since);
      if (gone.length > 0) await redis.hdel(WORKERS, ...gone.map(([id]) => id));
    },
  };
}

/** Milliseconds since 1970. */
async function timeOf(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}
