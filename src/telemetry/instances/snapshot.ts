import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { Alert } from '../alerts/options.js';
import { CacheUse } from '../requests/cache-use.js';
import { RequestCounts } from '../requests/figures.js';
import type { DurationHistogram } from '../requests/histogram.js';

/** The identity of an instance. */
export interface InstanceLabels {
  /** Random, for each start of the process. */
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** Of the app. */
  readonly version?: string | undefined;
  /** Milliseconds since 1970, by the clock of the instance. */
  readonly startedAt: number;
}

/** The state of a process, as other instances see it. */
export interface InstanceState {
  /** How long it has counted. Seconds. */
  readonly uptimeSeconds: number;
  readonly activeRequests: number;
  readonly openConnections: number;
  /** Requests per second in the last minute. */
  readonly requestRate: number;
  /** `null` before the first reading. */
  readonly cpuCores: number | null;
  readonly rssBytes: number | null;
  readonly heapUsedBytes: number | null;
  readonly heapLimitBytes: number | null;
  readonly eventLoopUtilization: number | null;
  /** Seconds; `null` without data. */
  readonly eventLoopDelayP99: number | null;
  /** Its alerts that are firing; 10 at most of another instance. */
  readonly firing: readonly Alert[];
}

/** Counts of one route since the start. */
export interface RouteCounts {
  readonly method: string;
  readonly route: string;
  readonly counts: RequestCounts;
}

/** The figures that an instance publishes for the others. Counts are those since its start, so that they can be added up. */
export interface InstanceSnapshot {
  readonly labels: InstanceLabels;
  readonly state: InstanceState;
  readonly all: RequestCounts;
  readonly cache: CacheUse;
  /** The busiest first. */
  readonly routes: readonly RouteCounts[];
}

/** The largest snapshot. Bytes. */
export const MOST_SNAPSHOT_BYTES = 8 * 1024;

/** A snapshot of ours is far below this once it is inflated. Bytes. */
const MOST_INFLATED = 1024 ** 2;

/** Alerts in a snapshot, and characters of a text of theirs. */
const MOST_FIRING = 10;
const LONGEST_MESSAGE = 200;
const LONGEST_ALERT_NAME = 60;

/** Routes of one snapshot, and words of each kind of reason. A snapshot of ours has fewer. */
const MOST_ROUTES = 100;
const MOST_WORDS = 100;

const FORMAT = 1;
const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** The route that stands for those that had no room. */
const OTHER_ROUTES = { method: '*', route: 'other' };

/**
 * Writes a snapshot in at most 8 kB. Where it would take more, the least busy half of the routes is added up, again and
 * again. Without routes, half of the alerts is left out.
 */
export async function encodeSnapshot(snapshot: InstanceSnapshot): Promise<Buffer> {
  let { routes, state } = snapshot;
  for (;;) {
    const bytes = await deflate(JSON.stringify(writeSnapshot({ ...snapshot, routes, state })));
    if (bytes.length <= MOST_SNAPSHOT_BYTES) return bytes;
    const { firing } = state;
    if (routes.length > 0) routes = foldRoutes(routes, Math.floor((routes.length - 1) / 2));
    else if (firing.length > 0)
      state = { ...state, firing: firing.slice(0, Math.min(MOST_FIRING, firing.length) >> 1) };
    else return bytes;
  }
}

/** The first so many routes, and one that is all others added up. */
export function foldRoutes(routes: readonly RouteCounts[], most: number): RouteCounts[] {
  if (routes.length <= most) return [...routes];
  const kept = routes.slice(0, most).filter(({ route }) => route !== OTHER_ROUTES.route);
  if (most === 0) return [];
  const counts = new RequestCounts();
  for (const route of routes) if (!kept.includes(route)) counts.add(route.counts);
  return [...kept, { ...OTHER_ROUTES, counts }];
}

/** Reads what another instance wrote; `undefined` for what is no snapshot. Never rejects. */
export async function decodeSnapshot(bytes: Buffer): Promise<InstanceSnapshot | undefined> {
  try {
    if (bytes.length > MOST_SNAPSHOT_BYTES) return undefined;
    const text = await inflate(bytes, { maxOutputLength: MOST_INFLATED });
    return readSnapshot(JSON.parse(text.toString()) as ReturnType<typeof writeSnapshot>);
  } catch {
    return undefined; // of another version, or not ours
  }
}

function writeSnapshot({ labels, state, all, cache, routes }: InstanceSnapshot) {
  return {
    format: FORMAT,
    labels,
    state: { ...state, firing: state.firing.slice(0, MOST_FIRING).map(writeAlert) },
    all: writeCounts(all),
    cache: cache.figures(),
    routes: routes.map(({ method, route, counts }) => [method, route, writeCounts(counts)] as const),
  };
}

/** Figures that JSON cannot write become `null`. */
function writeAlert({ name, since, value, threshold, unit, message, route }: Alert) {
  const cut = (whole: string) => whole.slice(0, LONGEST_ALERT_NAME);
  const text = message.slice(0, LONGEST_MESSAGE);
  return [cut(name), since, value, threshold, cut(unit), text, route && cut(route)] as const;
}

function writeCounts(counts: RequestCounts) {
  const { clientErrors, serverErrors, aborted, requestBytes, responseBytes, savedBytes } = counts;
  const numbers = [clientErrors, serverErrors, aborted, requestBytes, responseBytes, savedBytes];
  return [numbers, writeHistogram(counts.total), writeHistogram(counts.toHeaders)] as const;
}

function writeHistogram(histogram: DurationHistogram) {
  return [round(histogram.sum), round(histogram.max), histogram.toSparse()] as const;
}

const round = (milliseconds: number) => Math.round(milliseconds * 1000) / 1000;

/** @throws for anything of another form. */
function readSnapshot(written: ReturnType<typeof writeSnapshot>): InstanceSnapshot | undefined {
  if (written.format !== FORMAT) return undefined;
  const { id, host, pid, version, startedAt } = written.labels;
  return {
    labels: {
      id: text(id),
      host: text(host),
      pid: number(pid),
      ...(version !== undefined && { version: text(version) }),
      startedAt: number(startedAt),
    },
    state: readState(written.state),
    all: readCounts(written.all),
    cache: readCacheUse(written.cache),
    routes: readList(written.routes, MOST_ROUTES).map(([method, route, counts]) => ({
      method: text(method),
      route: text(route),
      counts: readCounts(counts),
    })),
  };
}

function readState(state: ReturnType<typeof writeSnapshot>['state']): InstanceState {
  const orNull = (value: number | null) => (value === null ? null : number(value));
  return {
    uptimeSeconds: number(state.uptimeSeconds),
    activeRequests: number(state.activeRequests),
    openConnections: number(state.openConnections),
    requestRate: number(state.requestRate),
    cpuCores: orNull(state.cpuCores),
    rssBytes: orNull(state.rssBytes),
    heapUsedBytes: orNull(state.heapUsedBytes),
    heapLimitBytes: orNull(state.heapLimitBytes),
    eventLoopUtilization: orNull(state.eventLoopUtilization),
    eventLoopDelayP99: orNull(state.eventLoopDelayP99),
    // Instances of an older version write none.
    firing: (state.firing ?? []).slice(0, MOST_FIRING).map(readAlert),
  };
}

function readAlert([name, since, value, threshold, unit, message, route]: ReturnType<
  typeof writeAlert
>): Alert {
  return {
    name: text(name),
    state: 'firing',
    since: number(since),
    value: value === null ? null : signed(value),
    threshold: signed(threshold),
    unit: text(unit),
    message: text(message),
    ...(route && { route: text(route) }),
  };
}

function readCounts([numbers, total, toHeaders]: ReturnType<typeof writeCounts>): RequestCounts {
  const counts = new RequestCounts();
  const [clientErrors, serverErrors, aborted, requestBytes, responseBytes, savedBytes] = numbers;
  const read = { clientErrors, serverErrors, aborted, requestBytes, responseBytes, savedBytes };
  for (const [name, value] of Object.entries(read)) Object.assign(counts, { [name]: number(value) });
  readHistogram(counts.total, total);
  readHistogram(counts.toHeaders, toHeaders);
  return counts;
}

function readHistogram(histogram: DurationHistogram, written: ReturnType<typeof writeHistogram>): void {
  const [sum, max, sparse] = written;
  histogram.addSparse(sparse.map(number), number(sum), number(max));
}

function readCacheUse(written: ReturnType<CacheUse['figures']>): CacheUse {
  const use = new CacheUse();
  const { hits, stale, revalidated, misses, passes, bypasses, servedBytes, savedSeconds } = written;
  Object.assign(use, {
    hits: number(hits),
    stale: number(stale),
    revalidated: number(revalidated),
    misses: number(misses),
    passes: number(passes),
    bypasses: number(bypasses),
    servedBytes: number(servedBytes),
    savedMs: number(savedSeconds) * 1000,
  });
  for (const [word, count] of readList(Object.entries(written.bypassReasons), MOST_WORDS))
    use.bypassReasons.set(text(word), number(count));
  for (const [word, count] of readList(Object.entries(written.refusalReasons), MOST_WORDS))
    use.refusalReasons.set(text(word), number(count));
  return use;
}

function readList<Item>(items: readonly Item[], most: number): readonly Item[] {
  if (!Array.isArray(items) || items.length > most) throw new TypeError('no list, or too long');
  return items;
}

/** Larger ones would make sums inexact, or infinite, which JSON does not have. */
function number(value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
    throw new TypeError('no number');
  return value;
}

/** Figures of the app may be negative. */
function signed(value: number): number {
  return Math.sign(value) * number(Math.abs(value));
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('no text');
  return value.slice(0, 300);
}
