import { performance } from 'node:perf_hooks';
import type { AdviceLevel } from '../indexes/advice-level.js';
import { ddlOf, type IndexDefinition, idOf } from '../indexes/definition.js';
import type { Statement } from '../monitor/statements.js';
import { isDirect, PoolerError, type Session, type Sessions } from '../sessions.js';
import { isWorthwhile, MOST_SHARE } from './acceptance.js';
import { type Proposal, proposalsFor } from './candidates.js';
import { Catalogue, type CatalogueTable } from './catalogue.js';
import {
  type ChoiceContext,
  chooseForStatement,
  chooseForWorkload,
  type ImprovedStatement,
  WorkloadCosts,
} from './choose.js';
import { costOfHeapPages } from './cost-model.js';
import { EstimatedIndexes } from './estimated.js';
import { columnsOf, type Expression, printedText, withoutAliases } from './expression.js';
import { findingsOf } from './findings.js';
import { IndexableFunctions } from './indexable.js';
import { adviseInverted } from './inverted.js';
import type { HelpedQuery, IndexReport, MissingIndex } from './report.js';
import { countShare } from './sampled.js';
import { HypotheticalIndexes, TrialIndexes, type WhatIf } from './what-if.js';
import { type PlannedStatement, planWorkload, readWorkload } from './workload.js';
import { type WriteCounts, Writes } from './writes.js';

/** The surroundings of the adviser. */
export interface AdviserContext {
  readonly sessions: Sessions;
  /** Tables up to this size may be built on in a transaction that is rolled back. Bytes; 0: none. */
  readonly trialMaxBytes: number;
  statements(): readonly Statement[];
}

/** Of one statement that is planned. Milliseconds. */
const STATEMENT_TIMEOUT = 5_000;
const LOCK_TIMEOUT = 200;

/** Without a reply for this long, the server hangs: later reports must not wait for it. Milliseconds. */
const REPLY_TIMEOUT = 30_000;

/** The computation ends after this time with the results that it has. Milliseconds. */
const MOST_TIME = 30_000;

/** Indexes that are built for one statement, at most. */
const MOST_TRIALS = 5;

/** Reads what one run of the adviser needs. */
interface AdviserRun {
  readonly session: Session;
  readonly context: AdviserContext;
  readonly catalogue: Catalogue;
  readonly functions: IndexableFunctions;
  readonly planned: readonly PlannedStatement[];
  readonly writes: Writes;
  readonly startedAt: number;
}

/** An index of a report, with its level. */
export interface AdvisedDefinition {
  readonly definition: IndexDefinition;
  readonly level: AdviceLevel;
}

/** Computes advice about indexes. One computation runs at a time. */
export class IndexAdviser {
  readonly #context: AdviserContext;
  readonly #startedAt = performance.now();
  #since: WriteCounts | undefined;
  #running: Promise<IndexReport> | undefined;
  #advised: readonly AdvisedDefinition[] = [];

  constructor(context: AdviserContext) {
    this.#context = context;
  }

  /** @throws the error of the connection. */
  report(): Promise<IndexReport> {
    this.#running ??= this.#compute().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** The indexes of the last report. */
  advised(): readonly AdvisedDefinition[] {
    return this.#advised;
  }

  /** The costs of statements as they are planned now. @param texts with placeholders, as a report has them. */
  costsOf(texts: readonly string[]): Promise<{ readonly text: string; readonly cost: number }[]> {
    return this.#session(async (session) => {
      const catalogue = await Catalogue.read(session);
      const workload = await readWorkload(session, this.#context.statements(), catalogue, 1);
      const wanted = workload.filter(({ fingerprint }) => texts.includes(fingerprint));
      const functions = await IndexableFunctions.read(session);
      const planned = await planWorkload(session, wanted, catalogue, functions);
      return planned.map(({ fingerprint, cost }) => ({ text: fingerprint, cost }));
    });
  }

  /** Remembers the counts of writes, so that later ones are counted from here. */
  async start(): Promise<void> {
    await this.#session(async (session) => this.#remember(await Catalogue.read(session)));
  }

  async #compute(): Promise<IndexReport> {
    return this.#session(async (session) => {
      const startedAt = performance.now();
      const catalogue = await Catalogue.read(session);
      // A transaction-mode pooler would hand hypothetical indexes to the app.
      if (!catalogue.isEmbedded && !(await isDirect(session))) throw new PoolerError();
      const windowSeconds = (startedAt - this.#startedAt) / 1000;
      const workload = await readWorkload(session, this.#context.statements(), catalogue, windowSeconds);
      const functions = await IndexableFunctions.read(session);
      const planned = await planWorkload(session, workload, catalogue, functions);
      const writes = new Writes(planned, catalogue, this.#since, startedAt);
      this.#remember(catalogue);
      const run: AdviserRun = {
        session,
        context: this.#context,
        catalogue,
        functions,
        planned,
        writes,
        startedAt,
      };
      const { level, definitions, missing, isComplete } = await advise(run);
      const findings = await findingsOf(session, catalogue);
      const levels = new Map(missing.map((item) => [item.id, item.level]));
      this.#advised = [...definitions, ...findings.definitions].map((definition) => ({
        definition,
        level: levels.get(idOf(definition)) ?? 'estimated',
      }));
      return {
        at: Date.now(),
        level,
        seconds: (performance.now() - startedAt) / 1000,
        isComplete,
        statements: workload.length,
        plannedStatements: planned.length,
        missing,
        ...findings.figures,
        countedSince: catalogue.countedSince,
        notes: notesOf(run, workload.length, level),
      };
    });
  }

  #session<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const limits = {
      statementTimeout: STATEMENT_TIMEOUT,
      lockTimeout: LOCK_TIMEOUT,
      replyTimeout: REPLY_TIMEOUT,
    };
    return this.#context.sessions.use('adviser', limits, work);
  }

  #remember({ tables }: Catalogue): void {
    this.#since ??= { at: performance.now(), byTable: tables };
  }
}

interface Advice {
  readonly level: Exclude<AdviceLevel, 'sampled'>;
  readonly definitions: readonly IndexDefinition[];
  readonly missing: readonly MissingIndex[];
  readonly isComplete: boolean;
}

async function advise(run: AdviserRun): Promise<Advice> {
  const whatIf = whatIfOf(run);
  try {
    return await adviseWith(run, whatIf);
  } finally {
    await whatIf.close();
  }
}

async function adviseWith(run: AdviserRun, whatIf: WhatIf): Promise<Advice> {
  const { catalogue, planned, writes } = run;
  const { level } = whatIf;
  const isLate = () => performance.now() - run.startedAt > MOST_TIME;
  const writeCost = (definition: IndexDefinition) => writes.cost(definition, tableOf(definition, catalogue));
  const context: ChoiceContext = { whatIf, catalogue, writeCost, isLate };
  const proposalsIn = (statement: PlannedStatement) =>
    proposalsOf(statement, run, level !== 'estimated').filter(({ table }) => mayTry(table, run, whatIf));
  const sets = await setsFor(run, context, proposalsIn);
  const chosen = await chooseForWorkload(planned, sets, context);
  const improved = await new WorkloadCosts(planned, context).improved(chosen);
  const after = new Map(improved.map((each) => [each.statement, each.after]));
  const inverted =
    level === 'verified'
      ? await adviseInverted(run.session, planned, {
          proposalsOf: proposalsIn,
          costOf: (statement) => after.get(statement) ?? statement.cost,
          writeCost,
          isLate,
        })
      : [];
  const missing = [
    ...chosen.map((definition) => describe(definition, level, whatIf.bytesOf(definition), improved, run)),
    ...inverted.map((each) => describe(each.definition, 'sampled', each.bytes, each.improved, run)),
  ];
  const definitions = [...chosen, ...inverted.map(({ definition }) => definition)];
  return { level, definitions, missing, isComplete: !isLate() };
}

/** The indexes that each statement alone wants. Half of the time is kept for all of them together. */
async function setsFor(
  run: AdviserRun,
  context: ChoiceContext,
  proposalsIn: (statement: PlannedStatement) => readonly Proposal[],
): Promise<(readonly IndexDefinition[])[]> {
  const { level } = context.whatIf;
  const isLate = () => performance.now() - run.startedAt > MOST_TIME / 2;
  const estimates = estimatesOf(run);
  const sets: (readonly IndexDefinition[])[] = [];
  for (const statement of run.planned) {
    if (isLate()) break;
    if (statement.cost < statement.leastGain) continue;
    const proposals = proposalsIn(statement).filter(({ gin }) => level !== 'verified' || !gin);
    // A build takes far longer than an estimate.
    const few = level === 'trial' ? await mostPromising(statement, proposals, estimates) : proposals;
    const set = await chooseForStatement(statement, few, { ...context, isLate });
    if (await leavesFewRows(run, statement, set)) {
      sets.push(set);
      continue;
    }
    const ofColumns = few.filter(({ definitions }) => definitions.every(hasColumnsAlone));
    sets.push(await chooseForStatement(statement, ofColumns, { ...context, isLate }));
  }
  return sets;
}

function hasColumnsAlone({ keys }: IndexDefinition): boolean {
  return keys.every(({ expression }) => expression === undefined);
}

/** Whether conditions on expressions leave few rows. The planner only assumes so, without statistics of them. */
async function leavesFewRows(
  run: AdviserRun,
  { scanned }: PlannedStatement,
  indexes: readonly IndexDefinition[],
): Promise<boolean> {
  for (const { table: name, schema, keys } of indexes) {
    const [expression] = keys.flatMap((key) => key.expression ?? []);
    if (expression === undefined) continue;
    const scan = scanned.find(({ table }) => table.schema === schema && table.name === name);
    const conditions = (scan?.conditions ?? []).filter(
      (each) =>
        withoutAliases(each).includes(expression) &&
        // Functions of the database could do anything.
        run.functions.allows(each, true) &&
        columnsOf(each).every(({ relation }) => relation === scan?.alias),
    );
    if (!scan || conditions.length === 0) continue;
    const share = await countShare(run.session, { table: scan.table, alias: scan.alias, conditions });
    if (share === undefined) continue;
    // As the planner would compute it, if it knew the share.
    const cost = costOfHeapPages(scan.table.pages, share * scan.table.rows);
    if (share > MOST_SHARE || !isWorthwhile(scan.scan['Total Cost'], cost, 0)) return false;
  }
  return true;
}

async function mostPromising(
  statement: PlannedStatement,
  proposals: readonly Proposal[],
  estimates: EstimatedIndexes,
): Promise<readonly Proposal[]> {
  const costed: { proposal: Proposal; cost: number }[] = [];
  for (const proposal of proposals) {
    const planned = await estimates.plan(statement.query, proposal.definitions);
    costed.push({ proposal, cost: planned?.root['Total Cost'] ?? statement.cost });
  }
  return costed
    .filter(({ cost }) => cost < statement.cost)
    .sort((a, b) => a.cost - b.cost || a.proposal.complexity - b.proposal.complexity)
    .slice(0, MOST_TRIALS)
    .map(({ proposal }) => proposal);
}

function estimatesOf({ session, catalogue, planned, functions }: AdviserRun): EstimatedIndexes {
  return new EstimatedIndexes(
    session,
    catalogue,
    planned,
    (statement, expression) => isIndexableIn(statement, expression, functions, false),
    (expression) => functions.isVolatile(expression),
  );
}

function whatIfOf(run: AdviserRun): WhatIf {
  const { session, catalogue, context } = run;
  const schema = catalogue.extensions.get('hypopg');
  // The two together crash the server: pg_hint_plan issue 205.
  if (schema !== undefined && !catalogue.extensions.has('pg_hint_plan'))
    return new HypotheticalIndexes(session, schema);
  if (context.trialMaxBytes > 0 && !catalogue.isStandby) return new TrialIndexes(session);
  return estimatesOf(run);
}

function mayTry(
  { bytes, isPartitioned }: CatalogueTable,
  { context }: AdviserRun,
  { level }: WhatIf,
): boolean {
  return level !== 'trial' || (bytes <= context.trialMaxBytes && !isPartitioned);
}

/** The proposals for all tables of a statement. */
function proposalsOf(
  statement: PlannedStatement,
  { catalogue, functions }: AdviserRun,
  serverDecides: boolean,
): Proposal[] {
  return statement.scanned.flatMap((each) =>
    proposalsFor(each, catalogue, statement.own, (expression) =>
      isIndexableIn(statement, expression, functions, serverDecides),
    ),
  );
}

/** A constant of one call must not become a part of an index. */
function isIndexableIn(
  { ownText }: PlannedStatement,
  expression: Expression,
  functions: IndexableFunctions,
  serverDecides: boolean,
): boolean {
  const hasConstant = /'|(?<![\w.])\d/.test(printedText(expression));
  if (hasConstant && !ownText.includes(withoutAliases(expression))) return false;
  return functions.allows(expression, serverDecides);
}

function tableOf({ schema, table }: IndexDefinition, catalogue: Catalogue): CatalogueTable {
  return catalogue.tableNamed(schema, table)!;
}

function describe(
  definition: IndexDefinition,
  level: AdviceLevel,
  bytes: number | null,
  improved: readonly ImprovedStatement[],
  { catalogue, writes }: AdviserRun,
): MissingIndex {
  const id = idOf(definition);
  const table = tableOf(definition, catalogue);
  const queries = improved
    .filter(({ used }) => used.has(id))
    .sort(
      (a, b) =>
        b.statement.weight * (b.statement.cost - b.after) - a.statement.weight * (a.statement.cost - a.after),
    )
    .map(helpedQuery);
  return {
    id,
    ddl: ddlOf(definition, { concurrently: true }),
    level,
    schema: definition.schema,
    table: definition.table,
    method: definition.method,
    bytes,
    tableRows: table.rows,
    tableBytes: table.bytes,
    writesPerHour: Math.round(writes.rowsPerHour(definition, table)),
    queries,
    statisticsAge: table.analyzedAt === null ? null : (Date.now() - table.analyzedAt) / 1000,
    caveats: caveatsOf(definition, table, queries),
  };
}

function helpedQuery({ statement, after }: ImprovedStatement): HelpedQuery {
  return {
    text: statement.fingerprint,
    calls: statement.calls,
    costBefore: statement.cost,
    costAfter: after,
    buffersBefore: statement.buffers,
    buffersAfter: null,
    plannedWith: statement.query.values === undefined ? 'none' : 'values',
    sampleAge: statement.sampleAge,
  };
}

/** Changes since the statistics were made, as a share of the rows. */
const STALE_SHARE = 0.2;

function caveatsOf(
  { keys, where }: IndexDefinition,
  table: CatalogueTable,
  queries: readonly HelpedQuery[],
): string[] {
  const caveats: string[] = [];
  if (table.analyzedAt === null || table.modifiedSinceAnalyze > table.rows * STALE_SHARE)
    caveats.push('The statistics of the table are stale: run ANALYZE, and look again.');
  if (keys.some(({ expression }) => expression !== undefined))
    caveats.push(
      'The server has no statistics of an expression until the index exists; the gain is usually larger.',
    );
  if (where !== undefined) caveats.push('It helps only statements with this condition.');
  if (queries.length > 0 && queries.every(({ plannedWith }) => plannedWith === 'none'))
    caveats.push('The statements were planned without values; for some values the plan may differ.');
  if (table.isPartitioned) caveats.push('Each partition gets an index.');
  return caveats;
}

function notesOf({ planned, catalogue }: AdviserRun, seen: number, level: AdviceLevel): string[] {
  const notes: string[] = [];
  if (seen === 0)
    notes.push('No statements are known: use monitorPool, or the extension pg_stat_statements.');
  else if (planned.length < seen) notes.push(`${seen - planned.length} statements could not be planned.`);
  if (level === 'estimated')
    notes.push('Nothing was tried: with the extension hypopg, the planner decides about each index.');
  if (!catalogue.extensions.has('pg_trgm') && planned.some(wantsTrigrams))
    notes.push('A statement searches inside of text: with the extension pg_trgm, an index could serve it.');
  return notes;
}

function wantsTrigrams({ scanned }: PlannedStatement): boolean {
  return scanned.some(({ conditions, table }) =>
    conditions.some(({ name, kind }) => kind === 'operator' && /^~~\*?$/.test(name) && table.rows > 10_000),
  );
}
