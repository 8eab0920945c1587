// The settings of a contender, and its messages to and from the benchmark.

import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A response as raw bytes, for contenders that replay one. */
export interface Reference {
  readonly status: number;
  /** Headers of the app, without those that Node adds (Date, Connection, Keep-Alive). */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Base64. */
  readonly body: string;
}

export interface Settings {
  /** File of the response to replay. */
  readonly reference?: string;
  /** Address of Redis, for the loads of the second tier. */
  readonly redis?: string;
  /** Maximum number of entries of the memory tier; absent: the contender's default. */
  readonly maxEntries?: number;
  /** Whether handlers let shared caches store their responses, for contenders that are proxies. */
  readonly isOrigin?: boolean;
}

/** A message to a running contender. */
export type Question =
  | { readonly ask: 'state' }
  | { readonly ask: 'storm'; readonly perSecond: number }
  | { readonly ask: 'stop' };

export interface State {
  /** Number of handler runs. */
  readonly runs: number;
  /** Number of encoded bodies, if the contender keeps any. */
  readonly encoded: number;
  /** Whether all connections of the contender are ready. */
  readonly isReady: boolean;
  /** Number of purges. */
  readonly purges: number;
  /** Bytes, after a garbage collection if possible. */
  readonly memory: { readonly heap: number; readonly external: number; readonly resident: number };
}

export interface Served {
  readonly runs?: () => number;
  readonly encoded?: () => number;
  readonly isReady?: () => boolean;
  /** Purges the responses of `/item/:id` by tag. */
  readonly purge?: (id: number) => unknown;
}

/** Lifetime of the responses to `/stale/:id`: shorter than the time between two requests for one id. */
export const STALE_TTL_SECONDS = 0.05;

/** Number of items in the purge storm. */
export const STORM_ITEMS = 100;

export const settings: Settings = JSON.parse(process.env.BENCH_SETTINGS ?? '{}');

export function readReference(): Reference {
  if (settings.reference === undefined) throw new Error('this contender needs a response to replay');
  return JSON.parse(readFileSync(settings.reference, 'utf8'));
}

/** Listens on a free port, reports it to the benchmark, and handles messages until it is stopped. */
export function serve(listener: RequestListener | Server, served: Served = {}): void {
  const server = typeof listener === 'function' ? createServer(listener) : listener;
  // The generator decides when to close connections: none may close between two rounds.
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
  answerQuestions(served);
}

export function answerQuestions(served: Served): void {
  const storm = new Storm(served.purge);
  process.on('message', (question: Question) => {
    if (question.ask === 'stop') process.exit(0);
    if (question.ask === 'storm') storm.blow(question.perSecond);
    else globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const state: State = {
      runs: served.runs?.() ?? 0,
      encoded: served.encoded?.() ?? 0,
      isReady: served.isReady?.() ?? true,
      purges: storm.purges,
      memory: { heap: heapUsed, external, resident: rss },
    };
    process.send?.(state);
  });
  process.on('disconnect', () => process.exit(0));
}

/** Purges at a steady rate; late purges are caught up. */
class Storm {
  purges = 0;
  readonly #purge: ((id: number) => unknown) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(purge: ((id: number) => unknown) | undefined) {
    this.#purge = purge;
  }

  blow(perSecond: number): void {
    clearInterval(this.#timer);
    const purge = this.#purge;
    if (perSecond === 0 || !purge) return;
    const begin = performance.now();
    const before = this.purges;
    this.#timer = setInterval(() => {
      const due = before + Math.floor(((performance.now() - begin) / 1000) * perSecond);
      while (this.purges < due) purge(this.purges++ % STORM_ITEMS);
    }, 1000 / perSecond);
  }
}
