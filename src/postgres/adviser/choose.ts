import { type IndexDefinition, idOf } from '../indexes/definition.js';
import { indexesInUse, isWorthwhile, LARGE_GAIN, LEAST_GAIN, useIn } from './acceptance.js';
import type { Proposal } from './candidates.js';
import type { Catalogue } from './catalogue.js';
import type { WhatIf } from './what-if.js';
import type { PlannedStatement } from './workload.js';

/** Indexes for one statement. */
const MOST_PER_STATEMENT = 3;

/** A further index for the same statement must cut the cost that is left to this share. */
const MOST_AFTER_ANOTHER = 0.7;

/** A simpler proposal is taken if its cost is at most this much higher than that of the best. */
const TOLERATED_FACTOR = 1.3;
const TOLERATED_COST = 1;

/** An index with stored columns or a predicate must be so many times cheaper than one without. */
const LEAST_FACTOR_OF_SPECIAL = 3;

/** An index that another one nearly replaces must save at least this share of its statement's cost. */
const LEAST_BESIDE_OTHERS = 0.25;

/** A statement with the cost that its chosen indexes leave. */
export interface ImprovedStatement {
  readonly statement: PlannedStatement;
  readonly after: number;
  /** The ids of the new indexes that its plan uses. */
  readonly used: ReadonlySet<string>;
  /** Of a named statement: the cost of its plan without values. */
  readonly genericAfter?: number;
}

/** The scales that indexes are weighed with. */
export interface ChoiceContext {
  readonly whatIf: WhatIf;
  readonly catalogue: Catalogue;
  /** Cost of the writes that an index makes dearer, in the unit of plans. */
  writeCost(definition: IndexDefinition): number;
  /** Whether there is no time left. */
  isLate(): boolean;
}

interface Costed {
  readonly indexes: readonly IndexDefinition[];
  readonly cost: number;
  readonly used: ReadonlySet<string>;
  /** With the scans, see `useIn`. */
  readonly uses: ReadonlySet<string>;
}

/**
 * The indexes that one statement alone wants: added one after another, the simplest of the best first, each only if the
 * planner uses it.
 */
export async function chooseForStatement(
  statement: PlannedStatement,
  proposals: readonly Proposal[],
  context: ChoiceContext,
): Promise<readonly IndexDefinition[]> {
  let current: Costed = { indexes: [], cost: statement.cost, used: new Set(), uses: new Set() };
  if (statement.cost < statement.leastGain) return [];
  for (let step = 0; step < MOST_PER_STATEMENT && !context.isLate(); step++) {
    const tried: { proposal: Proposal; costed: Costed }[] = [];
    for (const proposal of proposals) {
      if (context.isLate()) break;
      const costed = await costWith(statement, [...current.indexes, ...proposal.definitions], context);
      const most = current.cost * (step === 0 ? 0.9 : MOST_AFTER_ANOTHER);
      const isUsed = proposal.definitions.every((definition) =>
        costed?.uses.has(useIn(idOf(definition), proposal.alias)),
      );
      const least = leastFor(proposal, statement);
      if (costed && isUsed && costed.cost <= most && current.cost - costed.cost >= least)
        tried.push({ proposal, costed });
    }
    const best = simplestOfBest(tried);
    if (!best) break;
    current = best.costed;
  }
  const final = withoutUnused(current);
  if (!isWorthwhile(statement.cost, current.cost, statement.leastGain)) return [];
  return withoutNeedless(statement, final, current.cost, context);
}

/** An index finds the rows already: stored columns that save reading them must gain much. */
function leastFor({ definitions }: Proposal, { leastGain }: PlannedStatement): number {
  const hasStored = definitions.some(({ include }) => include.length > 0);
  return hasStored && leastGain > LEAST_GAIN ? LARGE_GAIN : LEAST_GAIN / 2;
}

function simplestOfBest<T extends { proposal: Proposal; costed: Costed }>(
  tried: readonly T[],
): T | undefined {
  const plain = tried.filter(({ proposal }) => proposal.definitions.every(isPlain));
  const leastPlain = leastCost(plain);
  const worth = tried.filter(
    (each) =>
      plain.includes(each) ||
      (each.costed.cost <= leastPlain / LEAST_FACTOR_OF_SPECIAL &&
        leastPlain - each.costed.cost >= LEAST_GAIN),
  );
  const least = leastCost(worth);
  const most = Math.max(least * TOLERATED_FACTOR, least + TOLERATED_COST);
  return worth
    .filter(({ costed }) => costed.cost <= most)
    .sort((a, b) => a.proposal.complexity - b.proposal.complexity || a.costed.cost - b.costed.cost)[0];
}

/** Stored columns make an index large, and its updates dear; a predicate makes it serve fewer statements. */
function isPlain({ include, where }: IndexDefinition): boolean {
  return include.length === 0 && where === undefined;
}

function leastCost(tried: readonly { readonly costed: Costed }[]): number {
  return Math.min(...tried.map(({ costed }) => costed.cost));
}

/** One index may take over the work of an earlier one. */
async function withoutNeedless(
  statement: PlannedStatement,
  indexes: readonly IndexDefinition[],
  cost: number,
  context: ChoiceContext,
): Promise<readonly IndexDefinition[]> {
  let kept = indexes;
  for (const each of indexes) {
    if (kept.length < 2) break;
    const others = kept.filter((other) => other !== each);
    const costed = await costWith(statement, others, context);
    if (costed && costed.cost <= Math.max(cost * 1.1, cost + TOLERATED_COST)) kept = others;
  }
  return kept;
}

function withoutUnused({ indexes, used }: Costed): readonly IndexDefinition[] {
  return indexes.filter((definition) => used.has(idOf(definition)));
}

/** @returns `undefined` if there is no plan. */
async function costWith(
  { query, cost, scanned }: PlannedStatement,
  indexes: readonly IndexDefinition[],
  { whatIf, catalogue }: ChoiceContext,
): Promise<Costed | undefined> {
  const planned = await whatIf.plan(query, indexes);
  if (!planned) return undefined;
  const total = planned.root['Total Cost'];
  return { indexes, cost: total, ...indexesInUse(planned, catalogue, cost - total, scanned) };
}

/**
 * The indexes for all statements together. The one with the largest gain is taken first, and the others are weighed again
 * beside it. In the end each is weighed once more beside all others.
 *
 * @param wanted sets of indexes, as single statements want them.
 */
export async function chooseForWorkload(
  statements: readonly PlannedStatement[],
  wanted: readonly (readonly IndexDefinition[])[],
  context: ChoiceContext,
): Promise<readonly IndexDefinition[]> {
  const load = new WorkloadCosts(statements, context);
  let chosen: readonly IndexDefinition[] = [];
  let remaining = uniqueSets(wanted);
  while (remaining.length > 0 && !context.isLate()) {
    const weighed = [];
    for (const set of remaining) {
      const added = set.filter((definition) => !chosen.some((other) => idOf(other) === idOf(definition)));
      const gain = (await load.total(chosen)) - (await load.total([...chosen, ...added]));
      const net = gain - added.reduce((sum, definition) => sum + context.writeCost(definition), 0);
      weighed.push({ set, added, net });
    }
    const best = weighed.sort((a, b) => b.net - a.net)[0]!;
    // Those that gain nothing now will not gain more beside others.
    remaining = weighed
      .filter(({ set, net, added }) => set !== best.set && net > 0 && added.length > 0)
      .map(({ set }) => set);
    if (best.net <= 0) break;
    const isWorth = await load.isWorthwhile(chosen, [...chosen, ...best.added]);
    if (isWorth) chosen = [...chosen, ...best.added];
  }
  return weighAgain(chosen, load, context);
}

async function weighAgain(
  chosen: readonly IndexDefinition[],
  load: WorkloadCosts,
  { writeCost }: ChoiceContext,
): Promise<readonly IndexDefinition[]> {
  let kept = chosen;
  for (const each of [...chosen].reverse()) {
    const others = kept.filter((other) => other !== each);
    const loss = (await load.total(others)) - (await load.total(kept));
    if (loss <= writeCost(each) || !(await load.isNeeded(others, kept))) kept = others;
  }
  return kept;
}

/** The cost of the statements with a set of indexes; each is planned once for those on its tables. */
export class WorkloadCosts {
  readonly #statements: readonly PlannedStatement[];
  readonly #context: ChoiceContext;
  readonly #costs = new Map<string, Costed | undefined>();

  constructor(statements: readonly PlannedStatement[], context: ChoiceContext) {
    this.#statements = statements;
    this.#context = context;
  }

  /** Of all calls of all statements. */
  async total(indexes: readonly IndexDefinition[]): Promise<number> {
    let sum = 0;
    for (const statement of this.#statements)
      sum += statement.weight * (await this.costOf(statement, indexes)).cost;
    return sum;
  }

  /** Whether at least one statement gains enough from the additional indexes. */
  async isWorthwhile(
    before: readonly IndexDefinition[],
    after: readonly IndexDefinition[],
  ): Promise<boolean> {
    for (const statement of this.#statements) {
      const costed = await this.costOf(statement, after);
      if (
        costed.used.size > 0 &&
        isWorthwhile((await this.costOf(statement, before)).cost, costed.cost, statement.leastGain)
      )
        return true;
      // A statement may want two indexes, each for a part of its cost.
      const isFirst = !isWorthwhile(
        statement.cost,
        (await this.costOf(statement, before)).cost,
        statement.leastGain,
      );
      if (costed.used.size > 0 && isFirst && isWorthwhile(statement.cost, costed.cost, statement.leastGain))
        return true;
    }
    return false;
  }

  /** Whether at least one statement would be dearer without the index that the second set has in addition. */
  async isNeeded(without: readonly IndexDefinition[], all: readonly IndexDefinition[]): Promise<boolean> {
    for (const statement of this.#statements) {
      const { cost } = await this.costOf(statement, all);
      const loss = (await this.costOf(statement, without)).cost - cost;
      if (loss >= LEAST_GAIN && loss >= cost * LEAST_BESIDE_OTHERS) return true;
    }
    return false;
  }

  async costOf(statement: PlannedStatement, indexes: readonly IndexDefinition[]): Promise<Costed> {
    const own = indexes.filter(({ schema, table }) =>
      statement.scanned.some(({ table: read }) => read.schema === schema && read.name === table),
    );
    const none = { indexes: [], cost: statement.cost, used: new Set<string>(), uses: new Set<string>() };
    if (own.length === 0) return none;
    const kind = statement.query.values === undefined ? 'generic' : 'values';
    const key = `${statement.fingerprint}\n${kind}\n${own.map(idOf).sort().join()}`;
    if (!this.#costs.has(key)) this.#costs.set(key, await costWith(statement, own, this.#context));
    return this.#costs.get(key) ?? none;
  }

  /** The statements that use a set of indexes, with their costs. */
  async improved(indexes: readonly IndexDefinition[]): Promise<ImprovedStatement[]> {
    const improved: ImprovedStatement[] = [];
    for (const statement of this.#statements) {
      const { cost, used } = await this.costOf(statement, indexes);
      if (used.size > 0 && cost < statement.cost) improved.push({ statement, after: cost, used });
    }
    return improved;
  }
}

function uniqueSets(sets: readonly (readonly IndexDefinition[])[]): (readonly IndexDefinition[])[] {
  const found = new Map(sets.map((set) => [set.map(idOf).sort().join(), set]));
  return [...found.values()].filter(({ length }) => length > 0);
}
