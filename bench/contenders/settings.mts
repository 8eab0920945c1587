// What the benchmark tells a contender as it starts it, and how the two talk afterwards.

import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A response as raw bytes, for contenders that replay one. */
export interface Reference {
  readonly status: number;
  /** Those that the app sent: without what Node adds by itself (Date, Connection, Keep-Alive). */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Base64. */
  readonly body: string;
}

export interface Settings {
  /** File of the response that is replayed. */
  readonly reference?: string;
  /** Where Redis is, for the loads of the second tier. */
  readonly redis?: string;
  /** Most entries of the memory tier; absent: the contender's own default. */
  readonly maxEntries?: number;
  /** Whether handlers allow shared caches to keep their responses: for what stands in front of the app. */
  readonly isOrigin?: boolean;
}

/** What the benchmark asks a running contender. */
export type Question =
  | { readonly ask: 'state' }
  | { readonly ask: 'storm'; readonly perSecond: number }
  | { readonly ask: 'stop' };

export interface State {
  /** How often a handler of the app ran. */
  readonly runs: number;
  /** Encoded forms made so far, where the contender keeps any. */
  readonly encoded: number;
  /** Whether everything behind it is connected. */
  readonly isReady: boolean;
  /** Purges so far. */
  readonly purges: number;
  /** Bytes, after a collection where the process allows one. */
  readonly memory: { readonly heap: number; readonly external: number; readonly resident: number };
}

export interface Served {
  readonly runs?: () => number;
  readonly encoded?: () => number;
  readonly isReady?: () => boolean;
  /** Purges by tag what `/item/:id` answered. */
  readonly purge?: (id: number) => unknown;
}

/** Lifetime of what `/stale/:id` answers: so short that it is stale whenever its turn comes again. */
export const STALE_TTL_SECONDS = 0.05;

/** How many items the purge storm goes round. */
export const STORM_ITEMS = 100;

export const settings: Settings = JSON.parse(process.env.BENCH_SETTINGS ?? '{}');

export function readReference(): Reference {
  if (settings.reference === undefined) throw new Error('this contender needs a response to replay');
  return JSON.parse(readFileSync(settings.reference, 'utf8'));
}

/** Listens on a free port, tells it to the benchmark, and answers its questions until it is told to stop. */
export function serve(listener: RequestListener | Server, served: Served = {}): void {
  const server = typeof listener === 'function' ? createServer(listener) : listener;
  // Idle connections are the generator's affair: none is to be closed between two rounds of a run.
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

/** Purges at a steady rate; one that the busy process was late for is made up. */
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
