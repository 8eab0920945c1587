import { type IndexDefinition, idOf, quoteIdentifier } from '../indexes/definition.js';
import type { PlannableQuery } from './explain.js';
import { columnsOf, type Expression, printedText } from './expression.js';
import { conditionsOfNode, nodesOf, type PlanStep } from './plan.js';

/**
 * Counts the rows that plans read through new indexes, as the planner estimates them. A scan with a filter shows only the
 * rows after it. So it hides that an index leads to a large part of its table.
 */
export class IndexRows {
  readonly #plan: (query: PlannableQuery) => Promise<PlanStep | undefined>;
  readonly #rows = new Map<string, number | undefined>();

  /** @param plan without an effect on the open transaction; `undefined`: there is no plan. */
  constructor(plan: (query: PlannableQuery) => Promise<PlanStep | undefined>) {
    this.#plan = plan;
  }

  /** @returns the plan, with the rows where they can be told. */
  async read(
    root: PlanStep,
    names: ReadonlyMap<string, string>,
    indexes: readonly IndexDefinition[],
  ): Promise<PlanStep> {
    const byId = new Map(indexes.map((definition) => [idOf(definition), definition]));
    const counted = new Map<PlanStep, number>();
    for (const { node } of nodesOf(root)) {
      const definition = byId.get(names.get(node['Index Name'] ?? '') ?? '');
      const text = definition && textFor(node, definition);
      if (text === undefined) continue;
      if (!this.#rows.has(text)) this.#rows.set(text, await this.#count(text));
      const rows = this.#rows.get(text);
      if (rows !== undefined) counted.set(node, rows);
    }
    return counted.size === 0 ? root : withRows(root, counted);
  }

  async #count(text: string): Promise<number | undefined> {
    return (await this.#plan({ text, values: [] }))?.['Plan Rows'];
  }
}

/** The statement whose rows an index scan reads; `undefined`: they are the rows of the scan, or depend on other tables. */
function textFor(node: PlanStep, { schema, table, where }: IndexDefinition): string | undefined {
  const { Alias: alias } = node;
  const conditions = conditionsOfNode(node);
  const hasFilter = conditions.some(({ field }) => field === 'Filter');
  const keys = conditions.filter(({ field }) => field === 'Index Cond').map(({ expression }) => expression);
  if (alias === undefined || !hasFilter || !keys.every((each) => isFixed(each, alias))) return undefined;
  const all = [...keys.map(printedText), ...(where === undefined ? [] : [where])];
  const from = `${quoteIdentifier(schema)}.${quoteIdentifier(table)} AS ${quoteIdentifier(alias)}`;
  return `SELECT 1 FROM ${from}${all.length > 0 ? ` WHERE ${all.join(' AND ')}` : ''}`;
}

function isFixed(expression: Expression, alias: string): boolean {
  return (
    !/\$\d|\bSubPlan\b|\bInitPlan\b/.test(printedText(expression)) &&
    columnsOf(expression).every(({ relation }) => relation === alias)
  );
}

function withRows(node: PlanStep, counted: ReadonlyMap<PlanStep, number>): PlanStep {
  const rows = counted.get(node);
  return {
    ...node,
    ...(rows !== undefined && { indexRows: rows }),
    ...(node.Plans && { Plans: node.Plans.map((child) => withRows(child, counted)) }),
  };
}
