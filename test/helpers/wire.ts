import type { Express } from 'express';
import { exchangeOf } from '../../src/exchange/exchange.js';
import { hotpath } from '../../src/hotpath.js';
import { cacheControl } from '../../src/middleware/cache-control/index.js';
import { compression } from '../../src/middleware/compression/index.js';
import { sizeLimit } from '../../src/middleware/size-limit/index.js';
import type { RawAnswer } from './http.js';

/** Ways to mount hotpath before an app. */
export const stacks: Record<string, (app: Express) => void> = {
  'the exchange alone': (app) => {
    app.use((req, res, next) => {
      const exchange = exchangeOf(req, res);
      exchange.onHead(() => {});
      exchange.onChunk(() => {});
      next();
    });
  },
  'compression, cache-control and size limit': (app) => {
    app.use(sizeLimit(), cacheControl(), compression());
  },
  'all six, composed': (app) => {
    app.use(hotpath());
  },
};

/** Headers that hotpath may add or change. Comparisons with Express alone ignore them. */
const OURS = new Set([
  'date',
  'cache-control',
  'vary',
  'x-cache',
  'age',
  'cache-status',
  'x-response-time',
  'server-timing',
  'x-request-id',
]);

/** The parts that must equal Express alone: the status line, the headers by name, the body. */
export function comparable(answer: RawAnswer): unknown {
  const headers = new Map<string, string[]>();
  for (const [name, value] of answer.headers) {
    if (!OURS.has(name.toLowerCase())) headers.set(name, [...(headers.get(name) ?? []), value]);
  }
  return {
    status: answer.head.split('\r\n', 1)[0],
    headers: [...headers].sort(([a], [b]) => (a < b ? -1 : 1)),
    body: answer.body.toString('hex'),
  };
}
