import type { RecordKind, VOID } from '../../../src/store/invalidation/invalidation-log.js';
import { compileSelector, type Selector } from '../../../src/store/invalidation/selector.js';
import type { LogStamp, RedisLog } from '../../../src/store/redis/log/redis-log.js';
import type { ServerClock } from '../../../src/store/redis/server-clock.js';
import type { Stamped } from '../../../src/store/stored-response.js';

/** A computed and stored value, from data that was read at one moment. */
export interface Value extends Stamped {
  readonly key: string;
  /** The time when the handler read its data. */
  readonly readAt: number;
  /** On the clock of its instance. */
  readonly storedAt: number;
  /** The duration of the handler. */
  readonly took: number;
}

/** A value in the shared store. */
export interface SharedValue {
  readonly key: string;
  readonly readAt: number;
  /** On the clock of the server. */
  readonly storedAt: number;
  readonly took: number;
  readonly stamp: LogStamp;
}

/** The operations of an instance on its store, and the clock. */
export interface World {
  now(): number;
  /** The current time on the clock of an instance. */
  nowAt(instance: number): number;
  /** Calls a function later. */
  after(milliseconds: number, call: () => void): void;
  random(): number;
  /** The value of the shared store for the instance; may fail or never end. */
  fetch(instance: number, key: string): Promise<SharedValue | undefined>;
  store(instance: number, value: SharedValue): void;
  /** Times on the clock of the server, as the instance knows it; `NaN` while it is unknown. */
  readonly clocks: readonly Pick<ServerClock, 'fromShared' | 'toShared'>[];
}

/** Protections that a test removes, to see that the model then fails. */
export interface Sabotage {
  /** Entries are never checked against the log. */
  readonly noCheck?: boolean;
  /** The stamp is taken after the handler. */
  readonly lateStamp?: boolean;
  /** Every stream counts as the one read before, with any content. */
  readonly noContinuation?: boolean;
}

/** Bounds that the model requires of the log. Milliseconds. */
export interface Bounds {
  /** After an acknowledgement, other instances may use older data for this time plus the time of the handler. */
  readonly staleness: number;
  /** Maximum duration of a handler. */
  readonly fill: number;
}

export const keys = ['/a/1', '/a/2', '/b/1', '/b/2', '/c', '/c?q=1'] as const;

function stampedOf(key: string): Omit<Stamped, 'stamp'> {
  const path = key.split('?')[0]!;
  return { url: key, path, tags: ['all-of-it', path[1]!, `key:${key}`] };
}

/** Selectors, each with the keys that it matches. */
const selectors = [
  ...keys.flatMap((key): Selector[] => [{ tag: `key:${key}` }, { url: key }]),
  ...['a', 'b', 'c'].map((tag): Selector => ({ tag })),
  { pattern: '/a/:id' },
  { pattern: '/:one' },
  { all: true } as const,
].map((selector) => {
  const compiled = compileSelector(selector);
  return {
    compiled,
    matched: new Set(keys.filter((key) => compiled.matches({ ...stampedOf(key), stamp: 0 }))),
  };
});

/** A recorded purge or expiry. */
interface Asked {
  readonly kind: RecordKind;
  readonly matched: ReadonlySet<string>;
  readonly at: number;
  readonly by: number;
  /** The call has returned, so the purge is done at least on this instance. */
  settledAt?: number;
  /** The time when it was in the current log, or returned to it after another history replaced that. */
  acknowledgedAt?: number | undefined;
  /** For a record that Redis may have lost: the instances that know it, and the latest time of the loss. */
  lost?: { readonly witnesses: ReadonlySet<number>; readonly at: number };
}

interface Change {
  /** The earliest time when records may be lost. */
  readonly at: number;
  /** The time when the change was complete at the latest. */
  readonly doneAt: number;
  /** Epoch and position of the last remaining record. */
  readonly end: LogStamp | undefined;
  /** Instances that know missing records, and since when: a later read of the log notices the change. */
  readonly noticers: Map<number, number>;
  /** The time when the first of them has reached the current log. */
  noticedAt: number | undefined;
  /** Every other instance has read the log since `doneAt`, so none of them becomes one any more. */
  isHeard: boolean;
}

/** A moment before a change, and the last read of each instance then. */
export interface Before {
  readonly at: number;
  readonly heardAt: readonly number[];
}

/** Counts that show that the model was active. */
export interface Tally {
  served: number;
  shared: number;
  voided: number;
  filled: number;
  acknowledged: number;
  queued: number;
}

/** Instances that fill, read and purge as the seed decides, with a check of every served value. */
export class Model {
  readonly tally: Tally = { served: 0, shared: 0, voided: 0, filled: 0, acknowledged: 0, queued: 0 };
  /** Values that should not have been served. */
  readonly violations: string[] = [];
  readonly #world: World;
  readonly #logs: readonly RedisLog[];
  readonly #memories: Map<string, Value>[];
  readonly #asked: Asked[] = [];
  readonly #bounds: Bounds;
  readonly #sabotage: Sabotage;
  readonly #void: typeof VOID;
  /** The last time when another history replaced the current one without a sign. */
  #change: Change = {
    at: Number.NEGATIVE_INFINITY,
    doneAt: Number.NEGATIVE_INFINITY,
    end: undefined,
    noticers: new Map(),
    noticedAt: Number.NEGATIVE_INFINITY,
    isHeard: false,
  };
  /** Share of all actions: with few records, entries live long. Every seed has some. */
  readonly #recording: number;

  constructor(world: World, logs: readonly RedisLog[], bounds: Bounds, sabotage: Sabotage = {}) {
    this.#world = world;
    this.#logs = logs;
    this.#memories = logs.map(() => new Map());
    this.#bounds = bounds;
    this.#sabotage = sabotage;
    this.#void = Number.NEGATIVE_INFINITY;
    this.#recording = 0.005 + 0.295 * world.random() ** 2;
  }

  /** For a change that takes time, call this before it. */
  before(): Before {
    return { at: this.#world.now(), heardAt: this.#logs.map((_, i) => this.#heardAt(i)) };
  }

  /**
   * The server continues, under the same name, with different data: records may be missing. Instances that know them
   * start a new epoch when they reach the server; others cannot notice. Call this once the change is complete.
   *
   * @param end epoch and position of the last remaining record.
   * @param before the last moment when nothing was lost.
   */
  changeHistory(end: LogStamp | undefined, before = this.before()): void {
    this.#hearWitnesses();
    const instances = [...this.#logs.keys()];
    for (const asked of this.#asked) {
      const knownAt = asked.acknowledgedAt ?? Number.POSITIVE_INFINITY;
      // A later read may be of the remaining history, without the record.
      if (asked.acknowledgedAt !== undefined || asked.lost)
        this.#lose(
          asked,
          instances.filter((i) => before.heardAt[i]! > knownAt),
        );
    }
    const last = this.#change;
    const { noticedAt: overAt = Number.POSITIVE_INFINITY } = last;
    const longest = this.#bounds.staleness + this.#bounds.fill;
    const isLastOver = before.at > overAt + longest || before.heardAt.every((heardAt) => heardAt > overAt);
    const doneAt = this.#world.now();
    // Until an earlier change is over, its mixed stamps remain, and this change may remove the epoch that ends them.
    const at = isLastOver ? before.at : last.at;
    const earlier = last.noticedAt === undefined ? [...last.noticers.keys()] : [];
    const noticers = new Map(earlier.map((i) => [i, doneAt]));
    this.#change = { at, doneAt, end, noticers, noticedAt: undefined, isHeard: false };
    for (const i of instances) if (this.#knowsMore(i, end)) noticers.set(i, doneAt);
    if (noticers.size === 0) this.#change.noticedAt = doneAt;
  }

  #knowsMore(instance: number, end: LogStamp | undefined): boolean {
    const log = this.#logs[instance]!;
    const known = log.toShared(log.position);
    return known !== undefined && (known.epoch !== end?.epoch || known.position > end.position);
  }

  /** An instance has learnt of a missing record from a reply that was in flight during the change. */
  #addNoticer(instance: number): void {
    const { noticers } = this.#change;
    // Nobody could notice before, so stamps of both histories mix from now on.
    if (noticers.size === 0) this.#change.noticedAt = undefined;
    noticers.set(instance, this.#world.now());
  }

  #lose(asked: Asked, knowing: readonly number[]): void {
    const witnesses = new Set([asked.by, ...(asked.lost?.witnesses ?? []), ...knowing]);
    asked.lost = { witnesses, at: this.#world.now() };
    asked.acknowledgedAt = undefined;
  }

  /** A lost record counts as acknowledged again once an instance that knows it has reached the current log. */
  #hearWitnesses(): void {
    for (const asked of this.#asked) {
      const { lost } = asked;
      if (asked.acknowledgedAt !== undefined || !lost) continue;
      const isBack = [...lost.witnesses].some((i) => this.#heardAt(i) > lost.at);
      if (isBack) asked.acknowledgedAt = this.#world.now();
    }
    // Called before each action, so it asks the logs only while it must.
    const change = this.#change;
    const { doneAt, end, noticers } = change;
    if (!change.isHeard) {
      const others = [...this.#logs.keys()].filter((i) => !noticers.has(i) && this.#heardAt(i) <= doneAt);
      for (const i of others) if (this.#knowsMore(i, end)) this.#addNoticer(i);
      change.isHeard = others.length === 0;
    }
    if (change.noticedAt !== undefined) return;
    if ([...noticers].some(([i, since]) => this.#heardAt(i) > since)) change.noticedAt = this.#world.now();
  }

  #heardAt(instance: number): number {
    const { nowAt, now } = this.#world;
    return this.#logs[instance]!.stats.heardAt - nowAt.call(this.#world, instance) + now.call(this.#world);
  }

  /** One action of one instance. */
  act(): void {
    this.#hearWitnesses();
    const instance = Math.floor(this.#world.random() * this.#logs.length);
    const dice = this.#world.random();
    if (dice >= this.#recording) this.#read(instance, this.#pick(keys));
    else this.#record(instance, this.#world.random() < 0.8 ? 'purge' : 'expire', this.#pick(selectors));
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#world.random() * list.length)]!;
  }

  #record(instance: number, kind: RecordKind, { compiled, matched }: (typeof selectors)[number]): void {
    const { now } = this.#world;
    const asked: Asked = {
      kind,
      matched,
      at: now.call(this.#world),
      by: instance,
    };
    this.#asked.push(asked);
    const cause = this.#world.random() < 0.5 ? 'app' : 'client';
    void this.#logs[instance]!.record(kind, compiled, cause).then(({ acknowledged }) => {
      asked.settledAt = this.#world.now();
      if (acknowledged) asked.acknowledgedAt = asked.settledAt;
      // Its reply was in flight while the history changed, so the record may be lost.
      if (acknowledged && this.#change.doneAt > asked.at) {
        this.#lose(asked, []);
        this.#addNoticer(instance);
      }
      this.tally[acknowledged ? 'acknowledged' : 'queued']++;
    });
  }

  #read(instance: number, key: string): void {
    const value = this.#memories[instance]!.get(key);
    if (value && this.#serve(instance, value, false)) return;
    if (this.#logs[instance]!.canShare && this.#world.random() < 0.7) void this.#fetch(instance, key);
    else this.#fill(instance, key);
  }

  async #fetch(instance: number, key: string): Promise<void> {
    const found = await this.#world.fetch(instance, key).catch(() => undefined);
    const log = this.#logs[instance]!;
    const stamp = found && (this.#sabotage.noCheck ? log.position : log.fromShared(found.stamp));
    // Like the codec: an entry is not used without a clock, or from the future.
    const storedAt = found && this.#world.clocks[instance]!.fromShared(found.storedAt);
    const isTimely = storedAt !== undefined && storedAt <= this.#world.nowAt(instance) + 1000;
    if (found && stamp !== undefined && isTimely) {
      const value = { ...stampedOf(key), ...found, storedAt, stamp };
      if (this.#serve(instance, value, true)) {
        this.#memories[instance]!.set(key, value);
        return;
      }
    }
    this.#fill(instance, key);
  }

  #fill(instance: number, key: string): void {
    const log = this.#logs[instance]!;
    const world = this.#world;
    const early = log.position;
    const begunAt = world.now();
    const duration = world.random() ** 3 * this.#bounds.fill;
    const readAfter = duration * world.random();
    world.after(readAfter, () => {
      const readAt = world.now();
      world.after(duration - readAfter, () => {
        const storedAt = world.nowAt(instance);
        const stamp = this.#sabotage.lateStamp ? log.position : early;
        const took = world.now() - begunAt;
        this.#keep(instance, { ...stampedOf(key), key, stamp, readAt, storedAt, took });
      });
    });
  }

  #keep(instance: number, value: Value): void {
    if (this.#limit(instance, value) <= this.#world.nowAt(instance)) return;
    this.tally.filled++;
    this.#memories[instance]!.set(value.key, value);
    const stamp = this.#logs[instance]!.toShared(value.stamp);
    const { key, readAt, took } = value;
    const storedAt = this.#world.clocks[instance]!.toShared(value.storedAt);
    if (stamp && Number.isFinite(storedAt) && this.#logs[instance]!.canShare)
      this.#world.store(instance, { key, readAt, storedAt, took, stamp });
  }

  #limit(instance: number, value: Value): number {
    return this.#sabotage.noCheck ? Number.POSITIVE_INFINITY : this.#logs[instance]!.limit(value);
  }

  /** @returns false when the log forbids serving it as fresh. */
  #serve(instance: number, value: Value, isShared: boolean): boolean {
    const limit = this.#limit(instance, value);
    if (limit === this.#void) {
      this.tally.voided++;
      this.#memories[instance]!.delete(value.key);
      return false;
    }
    const isFresh = limit > this.#world.nowAt(instance);
    this.tally.served++;
    if (isShared) this.tally.shared++;
    this.#judge(instance, value, isFresh);
    return isFresh;
  }

  #judge(instance: number, value: Value, isFresh: boolean): void {
    const now = this.#world.now();
    const bound = this.#bounds.staleness + value.took;
    let heard: number | undefined;
    const heardAt = () => (heard ??= this.#heardAt(instance));
    const { at: changedAt, noticedAt = Number.POSITIVE_INFINITY } = this.#change;
    // Until then records take the positions of others, and stamps of both histories mix.
    const isChangeOver = now > noticedAt + bound || heardAt() > noticedAt;
    for (const asked of this.#asked) {
      if (value.readAt >= asked.at || !asked.matched.has(value.key)) continue;
      if (!isChangeOver && (asked.settledAt ?? now) >= changedAt) continue;
      if (asked.kind === 'expire' && !isFresh) continue;
      const isOwn = asked.by === instance && asked.settledAt !== undefined && asked.settledAt < now;
      const isLate = asked.acknowledgedAt !== undefined && now > asked.acknowledgedAt + bound;
      // An instance that has read the log since then needs no bound.
      const isKnown = () => asked.acknowledgedAt !== undefined && heardAt() > asked.acknowledgedAt;
      if (!isOwn && !isLate && !isKnown()) continue;
      this.violations.push(
        `at ${now.toFixed(1)} instance ${instance} served ${value.key} read at ${value.readAt.toFixed(1)}, ` +
          `${asked.kind}d by ${asked.by} at ${asked.at.toFixed(1)}, settled at ${asked.settledAt?.toFixed(1)}`,
      );
    }
  }
}
