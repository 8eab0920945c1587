import { maskValues } from '../monitor/fingerprint.js';
import type { Catalogue } from './catalogue.js';
import { readCondition } from './conditions.js';
import { columnsOf, type Expression, withoutAliases, withoutCasts } from './expression.js';
import type { IndexableFunctions } from './indexable.js';
import type { ScannedTable } from './scans.js';
import type { PlannedStatement } from './workload.js';

/** Conditions of smaller tables are no matter. */
const LEAST_ROWS = 10_000;

const MOST_NOTES = 10;

/** The parts of a run that reasons are found from. */
export interface NoteContext {
  readonly catalogue: Catalogue;
  readonly functions: IndexableFunctions;
  /** Whether an index is advised for a statement. */
  isHelped(statement: PlannedStatement): boolean;
}

/** Says why conditions and orders of dear statements have no advice, where the reason is known. */
export function notesOnConditions(statements: readonly PlannedStatement[], context: NoteContext): string[] {
  const notes = new Set<string>();
  for (const statement of statements) {
    if (statement.cost < statement.leastGain) continue;
    const isHelped = context.isHelped(statement);
    for (const scanned of statement.scanned.filter(({ table }) => table.rows >= LEAST_ROWS)) {
      const keys = scanned.orders.flatMap((order) => order.map(({ expression }) => expression));
      for (const expression of [...scanned.conditions, ...keys]) {
        const untried = isUntried(expression, scanned, context) ? UNTRIED : undefined;
        const reason = untried ?? (isHelped ? undefined : reasonOf(expression, scanned, context));
        const text = maskValues(withoutAliases(expression));
        if (reason) notes.add(`No index is advised for \`${text}\`: ${reason}`);
      }
    }
  }
  return [...notes].slice(0, MOST_NOTES);
}

const UNTRIED = 'a GiST index could serve it, but it cannot be tried without a build.';

/** Operators whose order GiST gives. */
const DISTANCES = new Set(['<->', '<<->', '<->>']);

/** Whether a GiST index could serve a join or an order: neither HypoPG nor a sample can try it. */
function isUntried(
  expression: Expression,
  { table, alias }: ScannedTable,
  { catalogue }: NoteContext,
): boolean {
  const { kind, isJoin } = readCondition(expression, { catalogue, table, alias, isIndexable: () => true });
  return (kind === 'gist' && isJoin) || (expression.kind === 'operator' && DISTANCES.has(expression.name));
}

function reasonOf(
  expression: Expression,
  { table, alias }: ScannedTable,
  { catalogue, functions }: NoteContext,
): string | undefined {
  const isOwn = (each: Expression) => columnsOf(each).some(({ relation }) => relation === alias);
  if (functions.isVolatile(expression)) return 'a function in it may change from row to row.';
  const sides = expression.parts.filter((part) => isOwn(part) && withoutCasts(part).kind !== 'column');
  const casts = expression.parts.filter((part) => isOwn(part) && part.kind === 'cast');
  if ([...sides, ...casts].some((side) => dependsOnSession(side, table.oid, catalogue)))
    return 'the value depends on the time zone of the session. Compare the column itself with a range.';
  if (sides.some((side) => !functions.allows(side, true)))
    return 'an index holds built-in immutable functions and types alone.';
  return undefined;
}

/** Whether a time with a zone is turned into one without, or into a day. */
function dependsOnSession(side: Expression, table: number, catalogue: Catalogue): boolean {
  const isZoned = columnsOf(side).some(
    ({ name }) => catalogue.columnNamed(table, name)?.type === 'timestamp with time zone',
  );
  const { kind, name, parts } = side;
  const isTurned =
    (kind === 'cast' && /^(?:date|time|timestamp without|text)/.test(name)) ||
    (kind === 'call' && /^(?:date_trunc|date_part|extract|to_char|date)$/i.test(name));
  return isZoned && (isTurned || parts.some((part) => dependsOnSession(part, table, catalogue)));
}
