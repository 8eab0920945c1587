import { performance } from 'node:perf_hooks';
import { quoteIdentifier } from '../indexes/definition.js';
import { fingerprintOf } from '../monitor/fingerprint.js';
import type { Statement } from '../monitor/statements.js';
import { OWN_MARK, type Session } from '../sessions.js';
import { leastGain } from './acceptance.js';
import type { OwnConditions } from './candidates.js';
import type { Catalogue } from './catalogue.js';
import { explainQuery, isPlannable, noPlan, type PlannableQuery, readOnly } from './explain.js';
import {
  columnsOf,
  type Expression,
  printedText,
  readExpression,
  withoutAliases,
  withoutCasts,
} from './expression.js';
import type { IndexableFunctions } from './indexable.js';
import { conditionsOfNode, nodesOf, type PlanStep } from './plan.js';
import { countShare } from './sampled.js';
import { type ScannedTable, scannedTables } from './scans.js';

/** A statement of the workload. */
export interface WorkloadStatement {
  /** The text that is shown; it has no values. */
  readonly fingerprint: string;
  readonly operation: string;
  readonly calls: number;
  readonly seconds: number;
  readonly rows: number;
  /** `undefined`: nobody gave a text that can be planned. */
  readonly query: PlannableQuery | undefined;
  /** Seconds since the sample was taken; `null`: it is planned without values. */
  readonly sampleAge: number | null;
  /** Pages that one call read; `null`: not known. */
  readonly buffers: number | null;
  readonly source: 'monitor' | 'pg_stat_statements';
  /** The time in which the calls were counted. */
  readonly windowSeconds: number;
  /** Prepared under a name: after five calls the server may keep a plan without values. */
  readonly isNamed: boolean;
}

/** A statement with its plan of today. */
export interface PlannedStatement extends WorkloadStatement {
  readonly query: PlannableQuery;
  readonly root: PlanStep;
  /** Of one call. */
  readonly cost: number;
  readonly leastGain: number;
  /** Calls in an hour. */
  readonly weight: number;
  readonly scanned: readonly ScannedTable[];
  readonly own: OwnConditions;
  /** Everything that the plan without values prints, without aliases: constants in it are the statement's own. */
  readonly ownText: string;
  /** Of a named statement: as it is planned without values. */
  readonly generic?: PlannedStatement;
}

/** Statements that are planned, those with the most time first. */
const MOST_STATEMENTS = 50;

/** Reads the statements of the app, and those of other programs where `pg_stat_statements` shows them. */
export async function readWorkload(
  session: Session,
  statements: readonly Statement[],
  catalogue: Catalogue,
  windowSeconds: number,
): Promise<WorkloadStatement[]> {
  const others = await readStatStatements(session, catalogue);
  const byKey = new Map(others.map((each) => [keyOfText(each.fingerprint), each]));
  const ofApp = statements
    .filter(
      ({ fingerprint, durations, streams }) =>
        isPlannable(fingerprint.operation) && durations.count + streams > 0,
    )
    .map((statement) => {
      const known = byKey.get(keyOfText(statement.fingerprint.text));
      if (known) byKey.delete(keyOfText(known.fingerprint));
      return ofMonitor(statement, known, windowSeconds);
    });
  return [...ofApp, ...byKey.values()].sort((a, b) => b.seconds - a.seconds);
}

function ofMonitor(
  statement: Statement,
  known: WorkloadStatement | undefined,
  windowSeconds: number,
): WorkloadStatement {
  const { fingerprint, durations, streams, rows, sample } = statement;
  return {
    fingerprint: fingerprint.text,
    operation: fingerprint.operation,
    calls: durations.count + streams,
    seconds: durations.sum / 1000,
    rows,
    query: sample ? { text: sample.text, values: sample.values } : known?.query,
    sampleAge: sample ? (performance.now() - sample.at) / 1000 : null,
    buffers: known?.buffers ?? null,
    source: 'monitor',
    windowSeconds,
    isNamed: sample?.isNamed === true,
  };
}

/** The surroundings of planning. */
interface PlanContext {
  readonly session: Session;
  readonly catalogue: Catalogue;
  readonly functions: IndexableFunctions;
}

/**
 * Plans the statements that have a text, and reads what their plans want. A named statement is planned without values as
 * well. Where that plan is not dearer, the server keeps it, so it is a statement of its own.
 */
export async function planWorkload(
  session: Session,
  workload: readonly WorkloadStatement[],
  catalogue: Catalogue,
  functions: IndexableFunctions,
): Promise<PlannedStatement[]> {
  const context: PlanContext = { session, catalogue, functions };
  const planned: PlannedStatement[] = [];
  let count = 0;
  for (const statement of workload) {
    if (count >= MOST_STATEMENTS) break;
    const { query, isNamed } = statement;
    if (!query || !isPlannable(statement.operation)) continue;
    const found = await planStatement(statement, query, context);
    if (!found) continue;
    count++;
    const hasValues = query.values !== undefined && query.values.length > 0;
    const generic =
      isNamed && hasValues
        ? await planStatement({ ...statement, sampleAge: null }, { ...query, values: undefined }, context)
        : undefined;
    if (!generic || generic.cost > found.cost) planned.push({ ...found, ...(generic && { generic }) });
    else {
      // Both plans run: which of them is not known.
      const half = { ...generic, weight: generic.weight / 2 };
      planned.push({ ...found, generic: half, weight: found.weight / 2 }, half);
    }
  }
  return planned;
}

async function planStatement(
  statement: WorkloadStatement,
  query: PlannableQuery,
  { session, catalogue, functions }: PlanContext,
): Promise<PlannedStatement | undefined> {
  const root = await readOnly(session, () => explainQuery(session, query)).catch(noPlan);
  if (!root) return undefined;
  await catalogue.readColumns(session, tablesOf(root, catalogue));
  const { own, ownText } = await readOwnConditions(session, query, root);
  return {
    ...statement,
    query,
    root,
    cost: root['Total Cost'],
    leastGain: leastGain(root),
    weight: (Math.max(statement.calls, 1) * 3600) / Math.max(statement.windowSeconds, 1),
    scanned: await withJudgement(session, scannedTables(root, catalogue), functions),
    own,
    ownText,
  };
}

/** The planner assumes a share for each condition on an expression; it is counted instead. */
async function withJudgement(
  session: Session,
  scanned: readonly ScannedTable[],
  functions: IndexableFunctions,
): Promise<ScannedTable[]> {
  const judged: ScannedTable[] = [];
  for (const each of scanned) {
    const assumed = each.conditions.filter((condition) => isAssumed(condition, each.alias));
    const isMisjudged =
      assumed.length > 0 &&
      !(await leavesAsAssumed(
        session,
        each,
        assumed.filter((condition) => functions.allows(condition, true)),
      ));
    judged.push({ ...each, isMisjudged });
  }
  return judged;
}

/** Whether a condition compares an expression of columns of one table. */
function isAssumed(condition: Expression, alias: string): boolean {
  const columns = columnsOf(condition);
  const isOwn = columns.length > 0 && columns.every(({ relation }) => relation === alias);
  const isComparison = condition.kind === 'operator' || condition.kind === 'any' || condition.kind === 'call';
  const isPlain = condition.parts.some((part) => withoutCasts(part).kind === 'column');
  return isOwn && isComparison && !isPlain;
}

/** A misjudged condition leaves fewer rows than this share of those that the planner expects. */
const LEAST_OF_ASSUMED = 0.2;

async function leavesAsAssumed(
  session: Session,
  { table, alias }: ScannedTable,
  conditions: readonly Expression[],
): Promise<boolean> {
  const where = conditions.map(printedText).join(' AND ');
  if (conditions.length === 0) return false;
  const share = await countShare(session, { table, alias, conditions });
  const from = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)} AS ${quoteIdentifier(alias)}`;
  const text = `SELECT 1 FROM ${from} WHERE ${where}`;
  const root = await readOnly(session, () => explainQuery(session, { text, values: [] })).catch(noPlan);
  const assumed = (root?.['Plan Rows'] ?? 0) / Math.max(table.rows, 1);
  return share !== undefined && share >= assumed * LEAST_OF_ASSUMED;
}

function tablesOf(root: PlanStep, catalogue: Catalogue): number[] {
  return nodesOf(root).flatMap(
    ({ node }) => catalogue.tableNamed(node.Schema, node['Relation Name'])?.oid ?? [],
  );
}

/** The conditions without parameters: those of the plan without values, or all if the statement has none. */
async function readOwnConditions(
  session: Session,
  query: PlannableQuery,
  root: PlanStep,
): Promise<{ own: OwnConditions; ownText: string }> {
  const hasValues = query.values !== undefined && query.values.length > 0;
  const generic = hasValues
    ? await readOnly(session, () => explainQuery(session, { ...query, values: undefined })).catch(noPlan)
    : root;
  const own = new Set<string>();
  const texts: string[] = [];
  for (const { node } of generic ? nodesOf(generic) : []) {
    for (const { expression } of conditionsOfNode(node)) {
      texts.push(withoutAliases(expression));
      if (!/\$\d/.test(printedText(expression))) own.add(withoutAliases(expression));
    }
    for (const text of [...(node['Sort Key'] ?? []), ...(node.Output ?? [])]) {
      const read = readExpression(text.replace(/ DESC.*$| NULLS.*$/, ''));
      if (read) texts.push(withoutAliases(read));
    }
  }
  return { own, ownText: texts.join('\n') };
}

/** Texts of both sources, without what they write differently. */
function keyOfText(text: string): string {
  return text
    .replace(/\$\d+|\b(?:true|false|null)\b/gi, '?')
    .replace(/\(…\)|\(\?(?:, ?\?)*\)/g, '(?)')
    .replace(/\s+/g, ' ')
    .trim();
}

async function readStatStatements(session: Session, catalogue: Catalogue): Promise<WorkloadStatement[]> {
  const schema = catalogue.extensions.get('pg_stat_statements');
  if (schema === undefined) return [];
  const view = `"${schema.replaceAll('"', '""')}".pg_stat_statements`;
  const read = () => readOnly(session, () => session.query(statStatementsOf(view), [MOST_STATEMENTS]));
  // It may not be loaded, or this role may not read it.
  const result = await read().catch(noPlan);
  return (result?.rows ?? []).flatMap((row) => {
    const text = String(row.text);
    const operation = /^[\s(]*([A-Za-z]+)/.exec(text)?.[1]?.toUpperCase() ?? '';
    if (!isPlannable(operation) || text.length > 10_000) return [];
    const calls = Number(row.calls);
    return [
      {
        fingerprint: fingerprintOf(text).text,
        operation,
        calls,
        seconds: Number(row.seconds),
        rows: Number(row.rows),
        query: { text, values: undefined },
        sampleAge: null,
        buffers: Math.round(Number(row.buffers) / Math.max(calls, 1)),
        source: 'pg_stat_statements' as const,
        windowSeconds: Number(row.window),
        isNamed: false,
      },
    ];
  });
}

function statStatementsOf(view: string): string {
  return `
SELECT query AS text, calls, rows, total_exec_time / 1000 AS seconds, shared_blks_hit + shared_blks_read AS buffers,
  extract(epoch FROM now() - coalesce((SELECT stats_reset FROM ${view}_info), pg_postmaster_start_time())) AS window
FROM ${view} s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND query <> '<insufficient privilege>' AND query NOT LIKE '${OWN_MARK}%'
  AND query !~* '\\m(pg_catalog|pg_stat|hypopg|pg_class|pg_index)'
ORDER BY total_exec_time DESC LIMIT $1`;
}
