import type { Stamped } from '../../../src/store/entry.js';
import type { RecordKind, VOID } from '../../../src/store/log.js';
import type { RedisLog, SharedStamp } from '../../../src/store/redis/log.js';
import { compileSelector, type Selector } from '../../../src/store/selector.js';

/** What is computed and stored: from data that was read at one moment. */
export interface Value extends Stamped {
  readonly key: string;
  /** When the handler read its data. */
  readonly readAt: number;
  readonly storedAt: number;
  /** How long the handler took. */
  readonly took: number;
}

/** A value as it lies in the shared store. */
export interface SharedValue {
  readonly key: string;
  readonly readAt: number;
  readonly storedAt: number;
  readonly took: number;
  readonly stamp: SharedStamp;
}

/** How an instance stores and fetches, and what passes the time. */
export interface World {
  now(): number;
  /** Called later. */
  after(milliseconds: number, call: () => void): void;
  random(): number;
  /** What the shared store has for the instance; may fail or never end. */
  fetch(instance: number, key: string): Promise<SharedValue | undefined>;
  store(instance: number, value: SharedValue): void;
}

/** The protections that a test takes out to see that they are missed. */
export interface Sabotage {
  /** Entries are never checked against the log. */
  readonly noCheck?: boolean;
  /** The stamp is taken when the handler has ended. */
  readonly lateStamp?: boolean;
}

/** Bounds that the model holds the log to. Milliseconds. */
export interface Bounds {
  /** After an acknowledgement, what was computed before may be used so long elsewhere, and as long as it took to compute. */
  readonly staleness: number;
  /** Longest that a handler takes. */
  readonly fill: number;
}

const keys = ['/a/1', '/a/2', '/b/1', '/b/2', '/c', '/c?q=1'] as const;

function stampedOf(key: string): Omit<Stamped, 'stamp'> {
  const path = key.split('?')[0]!;
  return { url: key, path, tags: ['all-of-it', path[1]!, `key:${key}`] };
}

const selectors: readonly Selector[] = [
  ...keys.flatMap((key): Selector[] => [{ tag: `key:${key}` }, { url: key }]),
  ...['a', 'b', 'c'].map((tag): Selector => ({ tag })),
  { pattern: '/a/:id' },
  { pattern: '/:one' },
  { all: true },
];

/** A record that was asked for. */
interface Asked {
  readonly kind: RecordKind;
  readonly matches: (key: string) => boolean;
  readonly at: number;
  readonly by: number;
  /** Whoever asked was told that it is done, here at least. */
  settledAt?: number;
  acknowledgedAt?: number;
}

/** What happened, to see that the model was not idle. */
export interface Tally {
  served: number;
  shared: number;
  voided: number;
  filled: number;
  acknowledged: number;
  queued: number;
}

/** Instances that fill, read and purge as a seed says, and the check of everything that they serve. */
export class Model {
  readonly tally: Tally = { served: 0, shared: 0, voided: 0, filled: 0, acknowledged: 0, queued: 0 };
  /** What was served and should not have been. */
  readonly violations: string[] = [];
  readonly #world: World;
  readonly #logs: readonly RedisLog[];
  readonly #memories: Map<string, Value>[];
  readonly #asked: Asked[] = [];
  readonly #bounds: Bounds;
  readonly #sabotage: Sabotage;
  readonly #void: typeof VOID;
  /** Of all actions: where records are few, entries live long; some there are under every seed. */
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

  /** One action of one instance. */
  act(): void {
    const instance = Math.floor(this.#world.random() * this.#logs.length);
    const dice = this.#world.random();
    if (dice >= this.#recording) this.#read(instance, this.#pick(keys));
    else this.#record(instance, this.#world.random() < 0.8 ? 'purge' : 'expire', this.#pick(selectors));
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#world.random() * list.length)]!;
  }

  #record(instance: number, kind: RecordKind, selector: Selector): void {
    const compiled = compileSelector(selector);
    const { now } = this.#world;
    const asked: Asked = {
      kind,
      matches: (key) => compiled.matches({ ...stampedOf(key), stamp: 0 }),
      at: now.call(this.#world),
      by: instance,
    };
    this.#asked.push(asked);
    void this.#logs[instance]!.record(kind, compiled).then(({ acknowledged }) => {
      asked.settledAt = this.#world.now();
      if (acknowledged) asked.acknowledgedAt = asked.settledAt;
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
    if (found && stamp !== undefined) {
      const value = { ...stampedOf(key), ...found, stamp };
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
        const storedAt = world.now();
        const stamp = this.#sabotage.lateStamp ? log.position : early;
        this.#keep(instance, { ...stampedOf(key), key, stamp, readAt, storedAt, took: storedAt - begunAt });
      });
    });
  }

  #keep(instance: number, value: Value): void {
    if (this.#limit(instance, value) <= this.#world.now()) return;
    this.tally.filled++;
    this.#memories[instance]!.set(value.key, value);
    const stamp = this.#logs[instance]!.toShared(value.stamp);
    const { key, readAt, storedAt, took } = value;
    if (stamp) this.#world.store(instance, { key, readAt, storedAt, took, stamp });
  }

  #limit(instance: number, value: Value): number {
    return this.#sabotage.noCheck ? Number.POSITIVE_INFINITY : this.#logs[instance]!.limit(value);
  }

  /** @returns false when the log does not let it be served as fresh. */
  #serve(instance: number, value: Value, isShared: boolean): boolean {
    const limit = this.#limit(instance, value);
    if (limit === this.#void) {
      this.tally.voided++;
      this.#memories[instance]!.delete(value.key);
      return false;
    }
    const isFresh = limit > this.#world.now();
    this.tally.served++;
    if (isShared) this.tally.shared++;
    this.#judge(instance, value, isFresh);
    return isFresh;
  }

  #judge(instance: number, value: Value, isFresh: boolean): void {
    const now = this.#world.now();
    const bound = this.#bounds.staleness + value.took;
    const { heardAt } = this.#logs[instance]!.stats;
    for (const asked of this.#asked) {
      if (value.readAt >= asked.at || !asked.matches(value.key)) continue;
      if (asked.kind === 'expire' && !isFresh) continue;
      const isOwn = asked.by === instance && asked.settledAt !== undefined && asked.settledAt < now;
      const isLate = asked.acknowledgedAt !== undefined && now > asked.acknowledgedAt + bound;
      // Whoever has heard since needs no bound.
      const isKnown = asked.acknowledgedAt !== undefined && heardAt > asked.acknowledgedAt;
      if (!isOwn && !isLate && !isKnown) continue;
      this.violations.push(
        `at ${now.toFixed(1)} instance ${instance} served ${value.key} read at ${value.readAt.toFixed(1)}, ` +
          `${asked.kind}d by ${asked.by} at ${asked.at.toFixed(1)}, settled at ${asked.settledAt?.toFixed(1)}`,
      );
    }
  }
}
