import { performance } from 'node:perf_hooks';
import { queryPlanEvents } from '../../events/channels.js';
import { unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { type BoundValues, copyValues } from '../monitor/sample.js';
import type { Statement } from '../monitor/statements.js';
import type { Sessions } from '../sessions.js';
import { type PlanNode, planLines } from './plan-lines.js';

/** Of the session that plans. Milliseconds. */
const LIMITS = { statementTimeout: 2000, lockTimeout: 500, replyTimeout: 3000 };

/** Between two plans. Milliseconds. */
const INTERVAL = 1000;

/** Until a statement is planned again. Milliseconds. */
const STATEMENT_INTERVAL = 600_000;

/** Longer statements are not planned. Characters. */
const LONGEST_TEXT = 10_000;

/** Plans slow reads as PostgreSQL would run them, on connections of its own, and rarely. */
export class SlowQueryPlans {
  readonly #sessions: Sessions;
  readonly #plannedAt = new WeakMap<Statement, number>();
  #isBusy = false;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(sessions: Sessions) {
    this.#sessions = sessions;
  }

  /** A query was slow. Its plan follows, unless another one was made a moment ago. */
  offer(statement: Statement, text: string, values: unknown): void {
    const now = performance.now();
    const before = this.#plannedAt.get(statement) ?? Number.NEGATIVE_INFINITY;
    if (this.#isBusy || now - this.#lastAt < INTERVAL || now - before < STATEMENT_INTERVAL) return;
    if (!isExplainable(statement, text)) return;
    // The app may change its own list.
    const copied = copyValues(text, values);
    if (!copied) return;
    this.#isBusy = true;
    this.#lastAt = now;
    this.#plannedAt.set(statement, now);
    // A plan that fails has no other effect: the server is slow, or forbids it.
    runInOwnContext(() => void unawaited(this.#plan(statement, text, copied)));
  }

  close(): Promise<void> {
    return this.#sessions.close();
  }

  async #plan(statement: Statement, text: string, values: BoundValues): Promise<void> {
    try {
      const plan = await this.#sessions.use('explain', LIMITS, async (session) => {
        // EXPLAIN runs functions that are declared as stable.
        await session.query('BEGIN READ ONLY');
        const { rows } = await session.query(`EXPLAIN (FORMAT JSON) ${text}`, values);
        await session.query('ROLLBACK');
        return rows[0]?.['QUERY PLAN'];
      });
      const [first] = (Array.isArray(plan) ? plan : []) as { Plan?: PlanNode }[];
      if (!first?.Plan) return;
      statement.plan = planLines(first.Plan);
      if (queryPlanEvents.hasSubscribers) {
        queryPlanEvents.publish({ text: statement.fingerprint.text, plan: statement.plan });
      }
    } finally {
      this.#isBusy = false;
    }
  }
}

/** One SELECT alone. */
function isExplainable({ fingerprint }: Statement, text: string): boolean {
  return (
    fingerprint.operation === 'SELECT' &&
    text.length <= LONGEST_TEXT &&
    !fingerprint.text.includes(';') &&
    !/\bINTO\b/i.test(fingerprint.text)
  );
}
