import { type IndexDefinition, idOf } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { isWorthwhile, MOST_SHARE } from './acceptance.js';
import type { Proposal } from './candidates.js';
import type { ImprovedStatement } from './choose.js';
import { nodesOf, repetitionsOf } from './plan.js';
import { type SampleResult, tryOnSample } from './sampled.js';
import type { PlannedStatement } from './workload.js';

/** An inverted index with the statements that it helps. */
export interface InvertedAdvice {
  readonly definition: IndexDefinition;
  readonly bytes: number;
  readonly improved: readonly ImprovedStatement[];
}

/** A statement that other indexes have made cheaper than this needs no inverted one beside them. */
const CHEAP = 1_000;

/** Tries the inverted indexes that statements want, each on a sample. */
export async function adviseInverted(
  session: Session,
  statements: readonly PlannedStatement[],
  context: {
    proposalsOf(statement: PlannedStatement): readonly Proposal[];
    /** With the other indexes that are advised. */
    costOf(statement: PlannedStatement): number;
    writeCost(definition: IndexDefinition): number;
    isLate(): boolean;
  },
): Promise<InvertedAdvice[]> {
  const byId = new Map<
    string,
    { definition: IndexDefinition; bytes: number; improved: ImprovedStatement[] }
  >();
  for (const statement of statements) {
    const now = context.costOf(statement);
    if (context.isLate() || (now < statement.cost && now < CHEAP)) continue;
    let best: { definition: IndexDefinition; result: SampleResult; after: number } | undefined;
    for (const { definitions, gin } of context.proposalsOf(statement)) {
      const [definition] = definitions;
      if (!gin || !definition) continue;
      const found = await tryFor(session, statement, definition, gin);
      if (
        found &&
        isWorthwhile(now, found.after, statement.leastGain) &&
        found.after < (best?.after ?? Number.POSITIVE_INFINITY)
      )
        best = { definition, ...found };
    }
    if (!best) continue;
    const { definition, result, after } = best;
    const id = idOf(definition);
    const advice = byId.get(id) ?? { definition, bytes: result.bytes, improved: [] };
    advice.improved.push({ statement, after, used: new Set([id]) });
    byId.set(id, advice);
  }
  return [...byId.values()].filter(({ definition, improved }) => {
    const gain = improved.reduce(
      (sum, { statement, after }) => sum + statement.weight * (statement.cost - after),
      0,
    );
    return gain > context.writeCost(definition);
  });
}

async function tryFor(
  session: Session,
  statement: PlannedStatement,
  definition: IndexDefinition,
  condition: NonNullable<Proposal['gin']>,
): Promise<{ result: SampleResult; after: number } | undefined> {
  const { schema, table: name } = definition;
  const scanned = statement.scanned.find(
    ({ table, conditions }) =>
      table.schema === schema && table.name === name && conditions.includes(condition),
  );
  const placed = scanned && nodesOf(statement.root).find(({ node }) => node === scanned.scan);
  if (!placed) return undefined;
  const { table, alias } = scanned;
  const estimatedRows = placed.node['Plan Rows'];
  const result = await tryOnSample(session, definition, { table, alias, condition, estimatedRows });
  if (!result || result.share > MOST_SHARE) return undefined;
  const repeated = repetitionsOf(placed);
  const before = Math.min(placed.node['Total Cost'] * repeated, statement.cost);
  return { result, after: Math.max(statement.cost - before, 0) + Math.min(result.cost * repeated, before) };
}
