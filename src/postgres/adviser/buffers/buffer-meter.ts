import { performance } from 'node:perf_hooks';
import type { Session } from '../../sessions.js';
import { noPlan, type PlannableQuery, readOnly } from '../explain.js';
import type { PlanStep } from '../plan.js';
import type { ReadProof } from './read-proof.js';

/** See `UnmeasuredReason`. */
export const UNMEASURED_REASONS = [
  'off',
  'no-values',
  'not-proved',
  'timeout',
  'not-built',
  'failed',
] as const;

/**
 * Why the buffers of a query were not measured.
 *
 * - `off`: the option `indexes.measure` is `false`;
 * - `no-values`: the values of the app are not known;
 * - `not-proved`: its text, its plan and the functions of the database do not prove that it only reads;
 * - `timeout`: it takes too long, or no time was left;
 * - `not-built`: the index does not exist yet;
 * - `failed`: the server refused it.
 */
export type UnmeasuredReason = (typeof UNMEASURED_REASONS)[number];

/** Pages that one run of a query needed, or why they are not known. */
export type MeasuredBuffers =
  | { readonly pages: number; readonly reason: null }
  | { readonly pages: null; readonly reason: UnmeasuredReason };

/** Of one run, and of all runs together. Milliseconds. */
const LONGEST_RUN = 2_000;
const LONGEST_TOTAL = 8_000;

/** A plan of this cost takes longer than a run may. PGlite has no time-out. */
const HIGHEST_COST = 3_000_000;

/** Runs queries that only read, to count the pages that they need. */
export class BufferMeter {
  readonly #session: Session;
  readonly #proof: ReadProof | undefined;
  readonly #endsAt = performance.now() + LONGEST_TOTAL;

  /** @param proof `undefined`: nothing is run. */
  constructor(session: Session, proof: ReadProof | undefined) {
    this.#session = session;
    this.#proof = proof;
  }

  /** Runs a query once, in a read-only transaction that is rolled back. */
  measure(query: PlannableQuery, root: PlanStep): Promise<MeasuredBuffers> {
    return this.#measure(query, root, (run) => readOnly(this.#session, run));
  }

  /** @param within the open transaction of a trial, which is read-only and stays usable after an error. */
  measureIn(
    query: PlannableQuery,
    root: PlanStep,
    within: <T>(run: () => Promise<T>) => Promise<T | undefined>,
  ): Promise<MeasuredBuffers> {
    return this.#measure(query, root, within);
  }

  async #measure(
    query: PlannableQuery,
    root: PlanStep,
    within: <T>(run: () => Promise<T>) => Promise<T | undefined>,
  ): Promise<MeasuredBuffers> {
    if (!this.#proof) return unmeasured('off');
    if (query.values === undefined) return unmeasured('no-values');
    if (!this.#proof.proves(query.text, root)) return unmeasured('not-proved');
    const left = Math.min(LONGEST_RUN, this.#endsAt - performance.now());
    if (left < 50 || root['Total Cost'] > HIGHEST_COST) return unmeasured('timeout');
    try {
      const pages = await within(() => runOnce(this.#session, query, Math.round(left)));
      return pages === undefined ? unmeasured('failed') : { pages, reason: null };
    } catch (error) {
      const isLate = (error as { code?: unknown }).code === '57014';
      noPlan(error);
      return unmeasured(isLate ? 'timeout' : 'failed');
    }
  }
}

/** Buffers that are not known. */
export function unmeasured(reason: UnmeasuredReason): MeasuredBuffers {
  return { pages: null, reason };
}

async function runOnce(
  session: Session,
  { text, values = [] }: PlannableQuery,
  timeout: number,
): Promise<number> {
  await session.query(`SET LOCAL statement_timeout = ${timeout}`);
  const statement = text.replace(/[\s;]+$/, '');
  const { rows } = await session.single(
    `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) ${statement}`,
    values,
  );
  const value = rows[0]?.['QUERY PLAN'];
  const [{ Plan: root }] = (typeof value === 'string' ? JSON.parse(value) : value) as [{ Plan: PlanStep }];
  return (root['Shared Hit Blocks'] ?? 0) + (root['Shared Read Blocks'] ?? 0);
}
