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
   * @returns the number of instances whose snapshots are there; `undefined` where the store has not replied.
   */
  publish(id: string, snapshot: Buffer, ttlMs: number): Promise<number | undefined>;
  /** @returns `undefined` where the store cannot be reached. */
  list(): Promise<StoredSnapshots | undefined>;
  remove(id: string): Promise<unknown>;
}

/** A snapshot in the store. */
export interface StoredSnapshot {
  readonly id: string;
  /** Since it was written, by the clock of the store. */
  readonly ageSeconds: number;
  /** `undefined`: the store has not replied. */
  readonly snapshot: Buffer | undefined;
}

/** The snapshots in the store. */
export interface StoredSnapshots {
  readonly snapshots: readonly StoredSnapshot[];
  /** Instances that are there. The store may leave out snapshots of some. */
  readonly count: number;
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
  /** The snapshots of all other instances could be read. */
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
  /** Instances that were there at the last publication, this one among them; `undefined` where the store did not reply. */
  alive: number | undefined;
  #isPublishing = false;
  #isClosed = false;
  #hasPublished = false;
  #reading: Reading | undefined;

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
  async report(): Promise<InstancesReport> {
    const reading = this.#read();
    const found = await reading.found;
    return (reading.report ??= reportOn(found));
  }

  /** Of one instance; `undefined` if it is not among them. Never rejects. */
  async reportOf(id: string): Promise<InstancesReport | undefined> {
    const found = await this.#read().found;
    const snapshots = found.snapshots.filter(({ snapshot }) => snapshot.labels.id === id);
    return snapshots.length > 0 ? reportOn({ ...found, snapshots }) : undefined;
  }

  #read(): Reading {
    const now = performance.now();
    if (!this.#reading || now - this.#reading.at > SHARED_FOR_MS)
      this.#reading = { at: now, found: this.#find() };
    return this.#reading;
  }

  /** The others see it no more. Idempotent; never rejects. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#hasPublished) await unawaited(this.#store?.remove(this.#own().labels.id), 'telemetry');
  }

  async #find(): Promise<Found> {
    const stored = this.#isClosed ? undefined : await this.#store?.list();
    const own = this.#own();
    const snapshots: { snapshot: InstanceSnapshot; ageSeconds: number }[] = [
      { snapshot: own, ageSeconds: 0 },
    ];
    let missing = stored ? stored.count - stored.snapshots.length : 0;
    for (const { id, ageSeconds, snapshot: bytes } of stored?.snapshots ?? []) {
      if (id === own.labels.id) continue;
      const snapshot = bytes && (await decodeSnapshot(bytes));
      if (snapshot?.labels.id === id) snapshots.push({ snapshot, ageSeconds });
      else missing++;
    }
    const isUnreachable = this.#store && !stored;
    const reason = isUnreachable
      ? 'Redis cannot be reached'
      : `${missing} ${missing === 1 ? 'snapshot' : 'snapshots'} could not be read`;
    return { ownId: own.labels.id, snapshots, ...((isUnreachable || missing > 0) && { reason }) };
  }
}

/** A reading that callers share for a second. */
interface Reading {
  readonly at: number;
  readonly found: Promise<Found>;
  /** Made once. */
  report?: InstancesReport;
}

/** The snapshots of a moment. */
interface Found {
  readonly ownId: string;
  readonly snapshots: readonly { readonly snapshot: InstanceSnapshot; readonly ageSeconds: number }[];
  /** Why some are not there. */
  readonly reason?: string;
}

function reportOn(found: Found): InstancesReport {
  const { reason } = found;
  return { isComplete: reason === undefined, ...(reason && { reason }), ...mergeSnapshots(found) };
}

function mergeSnapshots({
  ownId,
  snapshots,
}: Found): Pick<InstancesReport, 'instances' | 'total' | 'routes'> {
  const all = new RequestCounts();
  const cache = new CacheUse();
  const routes = new Map<string, { route: RouteCounts; seconds: number }>();
  let rate = 0;
  for (const { snapshot } of snapshots) {
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
    instances: snapshots.map(({ snapshot, ageSeconds }) => ({
      ...snapshot.labels,
      ...snapshot.state,
      isSelf: snapshot.labels.id === ownId,
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
