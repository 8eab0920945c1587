// A project on Express 5 that has none of Express's types, nor those of ioredis: hotpath must not ask for them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hotpath, type RedisOptions, type RedisStats } from 'hotpath';
import type * as cache from 'hotpath/cache';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';

type Plain = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

export const middlewares: Plain[] = [hotpath(), compression(), metrics()];

export const redis: RedisOptions & cache.RedisOptions = { url: 'redis://localhost', wait: { replicas: 1 } };
export const stats: RedisStats | undefined = hotpath({ cache: { redis } }).cache.stats().redis satisfies
  | cache.RedisStats
  | undefined;
