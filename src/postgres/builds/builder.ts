import { performance } from 'node:perf_hooks';
import { indexBuildEvents } from '../../events/channels.js';
import { reportFault } from '../../runtime/report-fault.js';
import type { MeasuredBuffers } from '../adviser/buffers/buffer-meter.js';
import { qualifiedName } from '../changes/sql.js';
import { ddlOf, type IndexDefinition, indexNameOf, nameHashOf } from '../indexes/definition.js';
import type { Session, Sessions } from '../sessions.js';
import { attemptBuild } from './attempt.js';
import type { Attempt } from './build-concurrently.js';
import { BuildError, type BuildFailure, readFailure } from './build-error.js';
import { type BuildRecord, cleanupOf } from './build-record.js';
import { BUILD_PURPOSE, readIndexOf } from './catalog.js';
import { dropLeftovers, findLeftovers } from './leftovers.js';
import type { BuildSettings } from './options.js';
import { pauseFor } from './pause.js';
import type { AdvisedIndex } from './preflight.js';
import { commentOn, type Provenance } from './provenance.js';
import { type TurnSession, withTurn } from './turn.js';
import type { BuildGain } from './types.js';
import { runWatched } from './watch.js';

/** A query that an index helps, with the cost of its plan now. */
export interface PlannedQuery {
  readonly text: string;
  readonly cost: number;
  /** Of one run. */
  readonly buffers: MeasuredBuffers;
}

/** Plans the queries that an index helps, on a session of the monitor. */
export type PlanQueries = (index: AdvisedIndex) => Promise<readonly PlannedQuery[]>;

/** The parts that builds share. */
export interface BuildParts {
  readonly sessions: Sessions;
  readonly settings: BuildSettings;
  readonly signal: AbortSignal;
  readonly plan: PlanQueries | undefined;
}

/** Until the first further attempt; it doubles with each. Milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

/** How long a clean-up waits for the turn. Milliseconds. */
const CLEAN_WITHIN = 10_000;

/** How long an attempt waits for the turn at least: a look for leftovers, which has it now and then, is no reason to fail. */
const LEAST_WAIT = 5_000;

/** Gains that a comment keeps, and characters of their queries. */
const MOST_GAINS = 3;
const LONGEST_TEXT = 300;

/** Builds one index, with further attempts until the deadline. Never rejects. */
export async function runBuild(parts: BuildParts, record: BuildRecord): Promise<void> {
  publish(record, 'started');
  const { settings, signal } = parts;
  const deadline = record.startedAt + settings.retryFor * 1000;
  const isLate = () => performance.now() >= deadline;
  let blockedSince: number | undefined;
  for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LONGEST_PAUSE)) {
    const begunAt = performance.now();
    const failure = await tryBuild(parts, record, { isLate, blockedSince });
    if (!failure) return end(record, 'built');
    record.state = 'waiting';
    record.failure = failure;
    const mayRetry = failure.mayRetry && !isLate();
    if (await isCompletedAnyway(parts, record, mayRetry)) return end(record, 'built');
    if (!mayRetry) return end(record, 'failed');
    if (failure.reason === 'lock-timeout') blockedSince ??= begunAt;
    if (!(await pauseFor(wait, signal))) {
      record.failure = { reason: 'closed', sqlstate: null };
      return end(record, 'failed');
    }
  }
}

function end(record: BuildRecord, state: 'built' | 'failed'): void {
  record.state = state;
  record.endedAt = performance.now();
  if (state === 'built') record.failure = undefined;
  publish(record, state);
}

function publish(record: BuildRecord, state: 'started' | 'built' | 'failed'): void {
  if (!indexBuildEvents.hasSubscribers) return;
  const { definition, level } = record.index;
  const { id, seconds, failure } = record;
  indexBuildEvents.publish({
    id,
    index: indexNameOf(definition),
    ddl: ddlOf(definition, { concurrently: true }),
    level,
    state,
    seconds,
    reason: failure?.reason,
    sqlstate: failure?.sqlstate ?? undefined,
    cleanup: cleanupOf(record),
  });
}

interface Limits {
  readonly isLate: () => boolean;
  readonly blockedSince: number | undefined;
}

/** @returns why it has failed. */
async function tryBuild(
  parts: BuildParts,
  record: BuildRecord,
  limits: Limits,
): Promise<BuildFailure | undefined> {
  record.attempts++;
  const least = performance.now() + LEAST_WAIT;
  const isLate = () => performance.now() >= least && limits.isLate();
  try {
    await withTurn(parts, `${BUILD_PURPOSE} ${record.id}`, isLate, async (session) => {
      record.state = 'building';
      await buildAndReport(parts, record, session, limits);
    });
    return undefined;
  } catch (error) {
    const failure = readFailure(error);
    // The code alone does not say what to change.
    if (failure.reason === 'error') reportFault('index build', error);
    return failure;
  }
}

async function buildAndReport(
  parts: BuildParts,
  record: BuildRecord,
  session: TurnSession,
  { blockedSince }: Limits,
): Promise<void> {
  const { definition, level } = record.index;
  const { lockTimeout } = parts.settings;
  const before = await planQueries(parts, record);
  const provenance: Provenance = { id: record.id, level, at: new Date().toISOString() };
  const name = qualifiedName({ schema: definition.schema, name: indexNameOf(definition) });
  let isCommented = false;
  const attempt: Attempt = {
    definition,
    lockTimeout: Math.ceil(lockTimeout * 1000),
    signal: parts.signal,
    blockedSince,
    // Early, so that a leftover shows where it comes from.
    look: async (watch) => {
      if (isCommented || !(await readIndexOf(watch, definition))) return;
      await watch.query(commentOn(name, provenance));
      isCommented = true;
    },
  };
  const isNew = await attemptBuild(session, attempt).catch(async (error: unknown) => {
    // Found here, because another instance may drop it once the turn is free.
    record.hadLeftover ||= isCommented || (await hasLeftover(session, definition));
    throw error;
  });
  if (!isNew) return;
  if (definition.keys.some(({ expression }) => expression !== undefined)) await analyze(session, record);
  const gains = gainsOf(before, await planQueries(parts, record));
  await session.query(commentOn(name, { ...provenance, seconds: record.seconds, ...(gains && { gains }) }));
}

/** Never rejects: after a broken connection it is not known. */
async function hasLeftover(session: Session, definition: IndexDefinition): Promise<boolean> {
  const leftovers = findLeftovers(session, { hash: nameHashOf(definition) });
  return leftovers.then(({ length }) => length > 0).catch(() => false);
}

/**
 * Statistics of an expression exist from the next ANALYZE on. It makes `ALTER TABLE` wait, as a build does, so it yields too;
 * then autovacuum will do it.
 */
async function analyze(session: TurnSession, { index: { definition } }: BuildRecord): Promise<void> {
  const table = qualifiedName({ schema: definition.schema, name: definition.table });
  const run = () => session.query(`ANALYZE ${table}`);
  try {
    if (session.isEmbedded) await run();
    else await runWatched(session.sessions, session.pid, run);
  } catch (error) {
    if (!(error instanceof BuildError)) reportFault('index build', error);
  }
}

async function planQueries(
  { plan }: BuildParts,
  record: BuildRecord,
): Promise<readonly PlannedQuery[] | undefined> {
  try {
    return await plan?.(record.index);
  } catch (error) {
    reportFault('index build', error);
    return undefined;
  }
}

function gainsOf(
  before: readonly PlannedQuery[] | undefined,
  after: readonly PlannedQuery[] | undefined,
): readonly BuildGain[] | undefined {
  if (!before || !after) return undefined;
  const byText = new Map(after.map((query) => [query.text, query]));
  const gains = before.flatMap(({ text, cost, buffers }) => {
    const now = byText.get(text);
    if (!now) return [];
    return [
      {
        text: text.slice(0, LONGEST_TEXT),
        costBefore: cost,
        costAfter: now.cost,
        buffersBefore: buffers.pages,
        buffersAfter: now.buffers.pages,
        buffersReason: buffers.reason ?? now.buffers.reason,
      },
    ];
  });
  return gains.slice(0, MOST_GAINS);
}

/**
 * Drops the leftover of a failed attempt, or leaves it to the background. After a broken connection the server may still
 * build: then it waits for it.
 *
 * @param isResumed a further attempt will use the complete parts.
 * @returns whether the index is complete after all. Never rejects.
 */
async function isCompletedAnyway(
  parts: BuildParts,
  record: BuildRecord,
  isResumed: boolean,
): Promise<boolean> {
  const { definition } = record.index;
  const latest = performance.now() + CLEAN_WITHIN;
  const isLost = record.failure?.reason === 'connection-lost';
  const isLate = () => !isLost && performance.now() >= latest;
  try {
    return await withTurn(parts, 'clean-up', isLate, async (session) => {
      if ((await readIndexOf(session, definition))?.isValid) return true;
      const leftovers = await findLeftovers(session, { hash: nameHashOf(definition), isResumed });
      record.hadLeftover ||= leftovers.length > 0;
      const { left } = await dropLeftovers(session, leftovers);
      record.hasLeftover = left.length > 0;
      return false;
    });
  } catch {
    // Not known; the background finds out.
    record.hasLeftover = true;
    return false;
  }
}
