import { performance } from 'node:perf_hooks';
import { unawaited } from '../../runtime/guard.js';
import { CacheUse, type CacheUseFigures } from '../requests/cache-use.js';
import { RequestCounts, type RequestFigures } from '../requests/figures.js';
import {
  decodeSnapshot,
  encodeSnapshot,
  type InstanceLabels,
  type InstanceSnapshot,
  type InstanceState,
  type RouteCounts,
} from './snapshot.js';

/** Where instances leave their snapshots for each other. Nothing in it rejects or throws. */
export interface InstanceStore {
  /**
   * @param ttlMs after which it is gone.
   * @returns the number of instances whose snapshots are there; `undefined` where the store has not answered.
   */
  publish(id: string, snapshot: Buffer, ttlMs: number): Promise<number | undefined>;
  /** @returns `undefined` where the store cannot be reached. */
  list(): Promise<readonly StoredSnapshot[] | undefined>;
  remove(id: string): Promise<unknown>;
}

/** A snapshot in the store. */
export interface StoredSnapshot {
  readonly id: string;
  /** Since it was written, by the clock of the store. */
  readonly ageSeconds: number;
  readonly snapshot: Buffer;
}

/** An instance among others. */
export interface InstanceFigures extends InstanceLabels, InstanceState {
  /** It is the instance that made the report. */
  readonly isSelf: boolean;
  /** Age of its figures. Seconds. */
  readonly ageSeconds: number;
  /** Since its start. */
  readonly requests: RequestFigures;
  readonly cache: CacheUseFigures;
}

/** A route on all instances since their start. */
export interface SharedRouteFigures {
  readonly method: string;
  readonly route: string;
  readonly requests: RequestFigures;
}

/** All instances. Counts are added up and durations merged bucket by bucket. */
export interface InstancesReport {
  /** The snapshots of the other instances could be read. */
  readonly isComplete: boolean;
  /** Why not. */
  readonly reason?: string;
  readonly instances: readonly InstanceFigures[];
  /** Of all instances since the start of each; the rate is the sum of theirs in the last minute. */
  readonly total: { readonly requests: RequestFigures; readonly cache: CacheUseFigures };
  /** The busiest first. */
  readonly routes: readonly SharedRouteFigures[];
}

/** A snapshot is gone after three publications that did not come. Milliseconds. */
const TTL_MS = 15_000;

/** Callers within this time share one reading. Milliseconds. */
const SHARED_FOR_MS = 1_000;

/** Routes of a report. */
const MOST_ROUTES = 50;

/** Publishes the snapshot of this instance, and reads those of the others. */
export class Instances {
  readonly #store: InstanceStore | undefined;
  readonly #own: () => InstanceSnapshot;
  /** Instances that were there at the last publication, this one among them; `undefined` where the store did not answer. */
  alive: number | undefined;
  #isPublishing = false;
  #isClosed = false;
  #hasPublished = false;
  #reading: { readonly at: number; readonly report: Promise<InstancesReport> } | undefined;

  /**
   * @param store `undefined`: this instance is alone.
   * @param own makes its snapshot.
   */
  constructor(store: InstanceStore | undefined, own: () => InstanceSnapshot) {
    this.#store = store;
    this.#own = own;
  }

  /** Leaves the snapshot of this instance for the others, unless it is just being left. Never rejects. */
  async publish(): Promise<void> {
    if (!this.#store || this.#isPublishing || this.#isClosed) return;
    this.#isPublishing = true;
    try {
      const own = this.#own();
      const bytes = await encodeSnapshot(own);
      if (this.#isClosed) return;
      this.#hasPublished = true;
      this.alive = await this.#store.publish(own.labels.id, bytes, TTL_MS);
    } finally {
      this.#isPublishing = false;
    }
  }

  /** Never rejects. */
  report(): Promise<InstancesReport> {
    const now = performance.now();
    if (!this.#reading || now - this.#reading.at > SHARED_FOR_MS)
      this.#reading = { at: now, report: this.#read() };
    return this.#reading.report;
  }

  /** The others see it no more. Idempotent; never rejects. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#hasPublished) await unawaited(this.#store?.remove(this.#own().labels.id), 'telemetry');
  }

  async #read(): Promise<InstancesReport> {
    const stored = this.#isClosed ? undefined : await this.#store?.list();
    const own = this.#own();
    const found: { snapshot: InstanceSnapshot; ageSeconds: number }[] = [{ snapshot: own, ageSeconds: 0 }];
    for (const { id, ageSeconds, snapshot: bytes } of stored ?? []) {
      if (id === own.labels.id) continue;
      const snapshot = await decodeSnapshot(bytes);
      if (snapshot?.labels.id === id) found.push({ snapshot, ageSeconds });
    }
    const isComplete = !this.#store || stored !== undefined;
    return {
      isComplete,
      ...(!isComplete && { reason: 'Redis cannot be reached' }),
      ...mergeSnapshots(found),
    };
  }
}

function mergeSnapshots(
  found: readonly { readonly snapshot: InstanceSnapshot; readonly ageSeconds: number }[],
): Pick<InstancesReport, 'instances' | 'total' | 'routes'> {
  const all = new RequestCounts();
  const cache = new CacheUse();
  const routes = new Map<string, { route: RouteCounts; seconds: number }>();
  let rate = 0;
  for (const { snapshot } of found) {
    all.add(snapshot.all);
    cache.add(snapshot.cache);
    rate += snapshot.state.requestRate;
    for (const { method, route, counts } of snapshot.routes) {
      const key = `${method} ${route}`;
      const known = routes.get(key) ?? { route: { method, route, counts: new RequestCounts() }, seconds: 0 };
      known.route.counts.add(counts);
      known.seconds = Math.max(known.seconds, snapshot.state.uptimeSeconds);
      routes.set(key, known);
    }
  }
  const busiest = [...routes.values()]
    .sort((a, b) => b.route.counts.requests - a.route.counts.requests)
    .slice(0, MOST_ROUTES);
  return {
    instances: found.map(({ snapshot, ageSeconds }, index) => ({
      ...snapshot.labels,
      ...snapshot.state,
      isSelf: index === 0,
      ageSeconds,
      requests: snapshot.all.figures(snapshot.state.uptimeSeconds),
      cache: snapshot.cache.figures(),
    })),
    total: { requests: { ...all.figures(0), rate }, cache: cache.figures() },
    routes: busiest.map(({ route: { method, route, counts }, seconds }) => ({
      method,
      route,
      requests: counts.figures(seconds),
    })),
  };
}
