import { unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { idOf, indexNameOf } from '../indexes/definition.js';
import type { Session, Sessions } from '../sessions.js';
import { AdviceMemory } from './advice-memory.js';
import { BuildRecord, type BuildSnapshot, cleanupOf } from './build-record.js';
import { type BuildParts, type PlanQueries, runBuild } from './builder.js';
import {
  findOldTransaction,
  listOwnIndexes,
  listRunningBuilds,
  type OwnIndex,
  type RunningBuild,
} from './catalog.js';
import { isLeftover } from './leftovers.js';
import type { BuildSettings } from './options.js';
import { type AdvisedIndex, refuseIndex, refuseServer } from './preflight.js';
import { readProvenance } from './provenance.js';
import { LeftoverSweeper } from './sweeper.js';
import type { BuildRefusal, BuildState, IndexBuild } from './types.js';

/** Builds that wait or run at a time, and ended ones that are remembered. */
const MOST_PENDING = 20;
const MOST_ENDED = 100;

const LIMITS = { statementTimeout: 3_000, lockTimeout: 1_000, replyTimeout: 30_000 } as const;

/** Builds indexes one after the other, in the background, and reports their states from the catalogue. */
export class IndexBuilds {
  readonly #parts: BuildParts;
  readonly #closing = new AbortController();
  readonly #records = new Map<string, BuildRecord>();
  readonly #advice = new AdviceMemory();
  readonly #sweeper: LeftoverSweeper | undefined;
  /** The build that runs, with those behind it. */
  #last: Promise<void> = Promise.resolve();

  constructor(sessions: Sessions, settings: BuildSettings, plan?: PlanQueries) {
    this.#parts = { sessions, settings, plan, signal: this.#closing.signal };
    if (settings.apply) this.#sweeper = new LeftoverSweeper(this.#parts);
  }

  /**
   * Begins to build indexes, unless something speaks against it. An index that is built already, or is being built, counts
   * as begun.
   *
   * @returns the refused ones.
   */
  async request(indexes: readonly AdvisedIndex[]): Promise<BuildRefusal[]> {
    const { settings, sessions } = this.#parts;
    if (!settings.apply) return indexes.map((index) => refuse(index, APPLY_OFF));
    return sessions.use('preflight', LIMITS, async (session) => {
      const refused = await refuseServer(session);
      if (refused) return indexes.map((index) => refuse(index, refused));
      const refusals: BuildRefusal[] = [];
      for (const index of indexes) {
        const refusal = await this.#requestOne(session, index);
        if (refusal) refusals.push(refusal);
      }
      return refusals;
    });
  }

  /**
   * Begins to build indexes by the ids of their advice.
   *
   * @param advise computes the advice again: another instance may have given the ids.
   * @returns the refused ones.
   */
  async requestIds(
    ids: readonly string[],
    advise: () => Promise<readonly AdvisedIndex[]>,
  ): Promise<BuildRefusal[]> {
    if (!this.#parts.settings.apply)
      return ids.map((id) => ({ id, reason: APPLY_OFF[0], detail: APPLY_OFF[1] }));
    if (ids.some((id) => !this.#advice.find(id))) {
      const refused = await this.#parts.sessions.use('preflight', LIMITS, refuseServer);
      if (refused) return ids.map((id) => ({ id, reason: refused[0], detail: refused[1] }));
      this.#advice.remember(await advise());
    }
    const indexes = ids.map((id) => this.#advice.find(id));
    const unknown: string[] = [];
    for (const id of ids.filter((_, at) => !indexes[at])) {
      // Another instance may have begun to build it: then it is no longer advised.
      const [build] = await this.list(id);
      if (!build || !BEGUN.has(build.state)) unknown.push(id);
    }
    const refusals = await this.request(indexes.filter((index) => index !== undefined));
    return [...unknown.map((id) => ({ id, reason: UNKNOWN[0], detail: UNKNOWN[1] })), ...refusals];
  }

  /** Remembers the advice of a dry run. */
  remember(indexes: readonly AdvisedIndex[]): void {
    this.#advice.remember(indexes);
  }

  /** Whether indexes may be built at all. */
  get isAllowed(): boolean {
    return this.#parts.settings.apply;
  }

  /** @param id of an advice. Default: all that are known here or in the catalogue. */
  async list(id?: string): Promise<IndexBuild[]> {
    return this.#parts.sessions.use('status', LIMITS, async (session) => {
      // Before the catalogue: a build that ends meanwhile must not be reported with the index of before.
      const records = [...this.#records.values()]
        .filter((record) => id === undefined || record.id === id)
        .map((record) => record.snapshot());
      const running = await listRunningBuilds(session, id);
      const own = await listOwnIndexes(session, id?.slice(0, 8));
      const builds = describeBuilds({ records, running, own, id });
      return Promise.all(builds.map((build) => withBlocker(session, build, own)));
    });
  }

  /** Ends the background work. The server completes a build that runs. Idempotent. */
  close(): void {
    this.#closing.abort();
  }

  async #requestOne(session: Session, index: AdvisedIndex): Promise<BuildRefusal | undefined> {
    const id = idOf(index.definition);
    if (this.#isPending(id)) return undefined;
    // Another instance builds it, or one that has crashed has begun to.
    if ((await listRunningBuilds(session, id)).length > 0) return undefined;
    const { refusal, isBuilt } = await refuseIndex(session, index, this.#parts.settings);
    if (refusal || isBuilt) return refusal;
    // Another request may have been faster.
    if (this.#isPending(id)) return undefined;
    const pending = [...this.#records.values()].filter(({ isEnded }) => !isEnded);
    if (pending.length >= MOST_PENDING) return refuse(index, TOO_MANY);
    this.#enqueue(new BuildRecord(index));
    return undefined;
  }

  #isPending(id: string): boolean {
    return this.#records.get(id)?.isEnded === false;
  }

  #enqueue(record: BuildRecord): void {
    this.#records.delete(record.id);
    this.#records.set(record.id, record);
    const ended = [...this.#records.values()].filter(({ isEnded }) => isEnded);
    for (const { id } of ended.slice(0, -MOST_ENDED)) this.#records.delete(id);
    const before = this.#last;
    this.#last = runInOwnContext(async () => {
      await before;
      await unawaited(runBuild(this.#parts, record), 'index builds');
      if (record.hasLeftover) this.#sweeper?.wake();
    });
  }
}

const APPLY_OFF = [
  'apply-off',
  'Building is off: set `indexes: { apply: true }` in the options of postgres().',
] as const;
const UNKNOWN = ['unknown-id', 'No advice has this id; run the dry run again.'] as const;
const BEGUN: ReadonlySet<BuildState> = new Set(['waiting', 'building', 'built']);
const TOO_MANY = [
  'too-many-builds',
  `${MOST_PENDING} builds wait already; try again when some are done.`,
] as const;

function refuse(
  index: AdvisedIndex,
  [reason, detail]: readonly [BuildRefusal['reason'], string],
): BuildRefusal {
  return { id: idOf(index.definition), reason, detail };
}

interface Known {
  readonly records: readonly BuildSnapshot[];
  readonly running: readonly RunningBuild[];
  readonly own: readonly OwnIndex[];
  readonly id: string | undefined;
}

const NOTHING = {
  reason: null,
  sqlstate: null,
  phase: null,
  progress: null,
  partitions: null,
  blocker: null,
  cleanup: 'none',
  attempts: null,
  seconds: null,
  bytes: null,
  gains: null,
} as const;

/** One entry for each advice, of every instance. */
function describeBuilds(known: Known): IndexBuild[] {
  const ids = new Map<string, string>();
  for (const { id } of [...known.records, ...known.running]) ids.set(id.slice(0, 8), id);
  if (known.id !== undefined) ids.set(known.id.slice(0, 8), known.id);
  for (const { hash, comment } of known.own) {
    const id = readProvenance(comment).id;
    if (!ids.has(hash) && id?.startsWith(hash)) ids.set(hash, id);
  }
  const hashes = new Set([...ids.keys(), ...known.own.map(({ hash }) => hash)]);
  return [...hashes].map((hash) => describeBuild(known, hash, ids.get(hash) ?? null));
}

function describeBuild({ records, running, own }: Known, hash: string, id: string | null): IndexBuild {
  const index = own.find((each) => each.hash === hash && !each.isPart);
  const parts = own.filter((each) => each.hash === hash && each.isPart && !each.isPartitioned);
  const record = records.find((each) => each.id === id);
  const run = running.find((each) => each.id === id);
  const { seconds, gains = null } = readProvenance(index?.comment ?? null);
  const table = index?.table ?? (record && tableOf(record));
  const base: IndexBuild = {
    ...NOTHING,
    id,
    index: index?.name ?? (record ? indexNameOf(record.index.definition) : null),
    table: table ? `${table.schema}.${table.name}` : null,
    attempts: record?.attempts ?? null,
    seconds: record?.seconds ?? seconds ?? null,
    state: 'absent',
  };
  const partitions = index?.isPartitioned
    ? {
        // The server makes those of partitions that come later, under names of its own.
        done: index.isValid ? index.partitionCount : parts.filter(({ isValid }) => isValid).length,
        total: index.partitionCount,
      }
    : null;
  const isActive = run !== undefined || record?.isEnded === false;
  if (!isActive && index?.isValid && index.isReady)
    return {
      ...base,
      state: 'built',
      partitions,
      bytes: index.bytes,
      gains,
      seconds: seconds ?? base.seconds,
    };
  // A part of a table that has partitions itself counts too; one of a detached partition does not.
  const left = index !== undefined || own.some((each) => each.hash === hash && isLeftover(each));
  const failure = record?.failure ?? null;
  const reason = failure?.reason ?? null;
  const sqlstate = failure?.sqlstate ?? null;
  if (isActive) {
    const state = record?.isEnded === false ? record.state : run?.phase ? 'building' : 'waiting';
    const { phase = null, progress = null, blocker = null } = run ?? {};
    const cleanup = state === 'waiting' && left ? 'pending' : 'none';
    return { ...base, state, reason, sqlstate, phase, progress, blocker, partitions, cleanup };
  }
  if (left)
    return {
      ...base,
      state: 'failed',
      reason: reason ?? 'invalid',
      sqlstate,
      partitions,
      cleanup: 'pending',
    };
  // A person has dropped the index.
  if (!record || record.state === 'built') return base;
  return {
    ...base,
    state: 'failed',
    reason,
    sqlstate,
    cleanup: cleanupOf(record) === 'none' ? 'none' : 'done',
  };
}

function tableOf({ index: { definition } }: BuildSnapshot): { schema: string; name: string } {
  return { schema: definition.schema, name: definition.table };
}

/** A leftover waits for a transaction too. */
async function withBlocker(
  session: Session,
  build: IndexBuild,
  own: readonly OwnIndex[],
): Promise<IndexBuild> {
  const index = own.find(({ name }) => name === build.index);
  if (build.cleanup !== 'pending' || build.blocker || !index) return build;
  const found = await findOldTransaction(session, index.tableOid, 0);
  if (!found) return build;
  const { pid, state, seconds } = found;
  return { ...build, blocker: { pid, state, seconds } };
}
