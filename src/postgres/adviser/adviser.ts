import { performance } from 'node:perf_hooks';
import { unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import type { AdviceLevel } from '../indexes/advice-level.js';
import { ddlOf, type IndexDefinition, idOf } from '../indexes/definition.js';
import type { Statement } from '../monitor/statements.js';
import { isDirect, PoolerError, type Session, type Sessions } from '../sessions.js';
import { isWorthwhile, MOST_SHARE } from './acceptance.js';
import { BufferMeter, type MeasuredBuffers, unmeasured } from './buffers/buffer-meter.js';
import { ReadProof } from './buffers/read-proof.js';
import { type Proposal, proposalsFor } from './candidates.js';
import { Catalogue, type CatalogueTable, readCatalogueTables } from './catalogue.js';
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
import { notesOnConditions } from './notes.js';
import type { HelpedQuery, IndexReport, MissingIndex } from './report.js';
import { countShare } from './sampled.js';
import { adviseBySample } from './sampled-advice.js';
import { HypotheticalIndexes, TrialIndexes, type WhatIf } from './what-if.js';
import { type PlannedStatement, planWorkload, readWorkload } from './workload.js';
import { type WriteCounts, Writes } from './writes.js';

/** The surroundings of the adviser. */
export interface AdviserContext {
  readonly sessions: Sessions;
  /** Tables up to this size may be built on in a transaction that is rolled back. Bytes; 0: none. */
  readonly trialMaxBytes: number;
  /** Whether statements that only read may run once, so that their buffers are measured. */
  readonly mayRunReads: boolean;
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

/** Statements that run before and after a build. */
const MOST_BUILT_MEASURED = 3;

/** A statement as it is planned now, with the buffers of one run. */
export interface MeasuredStatement {
  readonly text: string;
  readonly cost: number;
  readonly buffers: MeasuredBuffers;
}

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
  #last: IndexReport | null = null;

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

  /** `null`: there is none yet. */
  get lastReport(): IndexReport | null {
    return this.#last;
  }

  /** The indexes of the last report. */
  advised(): readonly AdvisedDefinition[] {
    return this.#advised;
  }

  /**
   * Plans statements as the database is now, and runs those that only read.
   *
   * @param texts with placeholders, as a report has them; those that gain most first.
   */
  measure(texts: readonly string[]): Promise<MeasuredStatement[]> {
    return this.#session(async (session) => {
      const catalogue = await Catalogue.read(session);
      const workload = await readWorkload(session, this.#context.statements(), catalogue, 1);
      const wanted = workload.filter(({ fingerprint }) => texts.includes(fingerprint));
      const functions = await IndexableFunctions.read(session);
      const planned = await planWorkload(session, wanted, catalogue, functions);
      planned.sort((a, b) => texts.indexOf(a.fingerprint) - texts.indexOf(b.fingerprint));
      const proof = this.#context.mayRunReads ? await ReadProof.read(session) : undefined;
      const meter = new BufferMeter(session, proof);
      const measured: MeasuredStatement[] = [];
      for (const { fingerprint, query, root, cost } of planned) {
        // The plan without values of a named one.
        if (measured.some(({ text }) => text === fingerprint)) continue;
        const isFirst = measured.length < MOST_BUILT_MEASURED;
        const buffers = isFirst ? await meter.measure(query, root) : unmeasured('timeout');
        measured.push({ text: fingerprint, cost, buffers });
      }
      return measured;
    });
  }

  /** Remembers the counts of writes, so that later ones are counted from here. Without the server, the first report does. */
  start(): void {
    const read = () =>
      this.#session(async (session) => this.#remember(await readCatalogueTables(session))).catch(() => {});
    runInOwnContext(() => void unawaited(read(), 'index adviser'));
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
      this.#remember(catalogue.tables.values());
      const run: AdviserRun = {
        session,
        context: this.#context,
        catalogue,
        functions,
        planned,
        writes,
        startedAt,
      };
      const { advice, missing } = await advise(run);
      const { level, isComplete } = advice;
      const definitions = advice.chosen.map(({ definition }) => definition);
      const findings = await findingsOf(session, catalogue);
      const levels = new Map(missing.map((item) => [item.id, item.level]));
      this.#advised = [...definitions, ...findings.definitions].map((definition) => ({
        definition,
        level: levels.get(idOf(definition)) ?? 'estimated',
      }));
      this.#last = {
        at: Date.now(),
        level,
        seconds: (performance.now() - startedAt) / 1000,
        isComplete,
        statements: workload.length,
        plannedStatements: planned.length,
        missing,
        ...findings.figures,
        countedSince: catalogue.countedSince,
        notes: notesOf(run, workload.length, advice),
      };
      return this.#last;
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

  #remember(tables: Iterable<CatalogueTable>): void {
    this.#since ??= {
      at: performance.now(),
      byTable: new Map([...tables].map((table) => [table.oid, table])),
    };
  }
}

/** An index that is worth to be built, with the statements that it helps. */
interface ChosenIndex {
  readonly definition: IndexDefinition;
  readonly level: AdviceLevel;
  readonly bytes: number | null;
  readonly improved: readonly ImprovedStatement[];
}

interface Advice {
  readonly level: Exclude<AdviceLevel, 'sampled'>;
  readonly chosen: readonly ChosenIndex[];
  readonly isComplete: boolean;
}

/** The buffers of a statement without and with the advised indexes. */
interface StatementBuffers {
  readonly before: MeasuredBuffers;
  readonly after: MeasuredBuffers;
}

async function advise(run: AdviserRun): Promise<{ advice: Advice; missing: readonly MissingIndex[] }> {
  const whatIf = whatIfOf(run);
  const after = new Map<PlannedStatement, MeasuredBuffers>();
  const proof = run.context.mayRunReads ? await ReadProof.read(run.session) : undefined;
  const meter = new BufferMeter(run.session, proof);
  let advice: Advice;
  try {
    advice = await adviseWith(run, whatIf);
    const all = advice.chosen.map(({ definition }) => definition);
    for (const statement of measuredOf(advice)) {
      const measured = await whatIf.measure?.(statement.query, onTablesOf(statement, all), meter);
      if (measured) after.set(statement, measured);
    }
  } finally {
    await whatIf.close();
  }
  const buffers = new Map<PlannedStatement, StatementBuffers>();
  for (const statement of measuredOf(advice)) {
    const before = await meter.measure(statement.query, statement.root);
    buffers.set(statement, { before, after: after.get(statement) ?? unmeasured('not-built') });
  }
  return { advice, missing: advice.chosen.map((each) => describe(each, buffers, run)) };
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
  const costs = new WorkloadCosts(planned, context);
  const improved = await withGenericCosts(await costs.improved(chosen), costs, chosen);
  const after = new Map(improved.map((each) => [each.statement, each.after]));
  const sampled =
    level === 'verified'
      ? await adviseBySample(planned, {
          session: run.session,
          functions: run.functions,
          plan: (query, indexes) => whatIf.plan(query, indexes),
          proposalsOf: proposalsIn,
          costOf: (statement) => after.get(statement) ?? statement.cost,
          writeCost,
          isLate,
        })
      : [];
  const ofColumns = chosen.map((definition): ChosenIndex => {
    const helped = improved.filter(({ used }) => used.has(idOf(definition)));
    return { definition, level, bytes: whatIf.bytesOf(definition), improved: helped };
  });
  const bySample = sampled.map((each): ChosenIndex => ({ ...each, level: 'sampled' }));
  return { level, chosen: mergeChosen(ofColumns, bySample).map(largestGainFirst), isComplete: !isLate() };
}

/** Named statements also have the costs of their plans without values. */
async function withGenericCosts(
  improved: readonly ImprovedStatement[],
  costs: WorkloadCosts,
  indexes: readonly IndexDefinition[],
): Promise<ImprovedStatement[]> {
  const found: ImprovedStatement[] = [];
  for (const each of improved) {
    const { generic } = each.statement;
    found.push(generic ? { ...each, genericAfter: (await costs.costOf(generic, indexes)).cost } : each);
  }
  return found;
}

/** An index on an expression may be found by both ways: the planner has decided for it, and the sample knows its cost. */
function mergeChosen(planned: readonly ChosenIndex[], sampled: readonly ChosenIndex[]): ChosenIndex[] {
  const byId = new Map(planned.map((index) => [idOf(index.definition), index]));
  for (const index of sampled) {
    const known = byId.get(idOf(index.definition));
    const others = known?.improved.filter(
      ({ statement }) => !index.improved.some((each) => each.statement === statement),
    );
    byId.set(
      idOf(index.definition),
      known ? { ...known, improved: [...index.improved, ...(others ?? [])] } : index,
    );
  }
  return [...byId.values()];
}

function largestGainFirst(index: ChosenIndex): ChosenIndex {
  const gainOf = ({ statement, after }: ImprovedStatement) => statement.weight * (statement.cost - after);
  return { ...index, improved: [...index.improved].sort((a, b) => gainOf(b) - gainOf(a)) };
}

/** Statements whose buffers are measured, those that gain most. */
const MOST_MEASURED = 20;

function measuredOf({ chosen }: Advice): PlannedStatement[] {
  const statements = new Set(chosen.flatMap(({ improved }) => improved.map(({ statement }) => statement)));
  return [...statements].slice(0, MOST_MEASURED);
}

/** The indexes that a statement could use. */
function onTablesOf({ scanned }: PlannedStatement, indexes: readonly IndexDefinition[]): IndexDefinition[] {
  return indexes.filter(({ schema, table }) =>
    scanned.some((each) => each.table.schema === schema && each.table.name === table),
  );
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
    const proposals = proposalsIn(statement).filter(({ sampled }) => level !== 'verified' || !sampled);
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
    return new HypotheticalIndexes(session, schema, catalogue);
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
  { definition, level, bytes, improved }: ChosenIndex,
  buffers: ReadonlyMap<PlannedStatement, StatementBuffers>,
  { catalogue, writes }: AdviserRun,
): MissingIndex {
  const table = tableOf(definition, catalogue);
  const queries = improved
    .filter(({ statement }) => !improved.some((other) => other.statement.generic === statement))
    .map((each) => helpedQuery(each, buffers.get(each.statement)));
  return {
    id: idOf(definition),
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
    caveats: caveatsOf(definition, level, table, queries),
  };
}

function helpedQuery(
  { statement, after, genericAfter }: ImprovedStatement,
  buffers: StatementBuffers | undefined,
): HelpedQuery {
  const { before, after: measured } = buffers ?? {
    before: unmeasured('timeout'),
    after: unmeasured('timeout'),
  };
  const pages = before.pages ?? statement.buffers;
  return {
    text: statement.fingerprint,
    calls: statement.calls,
    costBefore: statement.cost,
    costAfter: after,
    buffersBefore: pages,
    buffersSource: pages === null ? null : before.pages === null ? 'pg_stat_statements' : 'run',
    buffersAfter: measured.pages,
    buffersReason: before.reason ?? measured.reason,
    plannedWith: statement.query.values === undefined ? 'none' : 'values',
    generic:
      statement.generic && genericAfter !== undefined
        ? { costBefore: statement.generic.cost, costAfter: genericAfter }
        : null,
    sampleAge: statement.sampleAge,
  };
}

/** Changes since the statistics were made, as a share of the rows. */
const STALE_SHARE = 0.2;

function caveatsOf(
  { keys, where }: IndexDefinition,
  level: AdviceLevel,
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
  if (level === 'sampled')
    caveats.push(
      'Its gain was computed from a sample of the rows; the real cost may differ by more than 15 %.',
    );
  if (level === 'estimated')
    caveats.push('Its gain follows from rules and statistics alone; the planner may decide otherwise.');
  if (level === 'sampled' && queries.some(({ costBefore, costAfter }) => costAfter > costBefore / 2))
    caveats.push('The planner expects far more rows than the sample has, so the cost of today is too low.');
  if (where !== undefined) caveats.push('It helps only statements with this condition.');
  if (queries.length > 0 && queries.every(({ plannedWith }) => plannedWith === 'none'))
    caveats.push('The statements were planned without values; for some values the plan may differ.');
  if (queries.some(({ generic }) => generic && generic.costAfter > generic.costBefore / 2))
    caveats.push(
      'A statement with a name may be planned without values from its sixth call on; that plan gains less. `plan_cache_mode = force_custom_plan` avoids it.',
    );
  if (table.isPartitioned) caveats.push('Each partition gets an index.');
  return caveats;
}

function notesOf(
  { planned, catalogue, functions }: AdviserRun,
  seen: number,
  { level, chosen }: Advice,
): string[] {
  const notes: string[] = [];
  if (seen === 0)
    notes.push('No statements are known: use monitorPool, or the extension pg_stat_statements.');
  else if (planned.length < seen) notes.push(`${seen - planned.length} statements could not be planned.`);
  if (level === 'estimated')
    notes.push('Nothing was tried: with the extension hypopg, the planner decides about each index.');
  if (!catalogue.extensions.has('pg_trgm') && planned.some(wantsTrigrams))
    notes.push('A statement searches inside of text: with the extension pg_trgm, an index could serve it.');
  const helped = new Set(chosen.flatMap(({ improved }) => improved.map(({ statement }) => statement)));
  const isHelped = (statement: PlannedStatement) => helped.has(statement);
  return [...notes, ...notesOnConditions(planned, { catalogue, functions, isHelped })];
}

function wantsTrigrams({ scanned }: PlannedStatement): boolean {
  return scanned.some(({ conditions, table }) =>
    conditions.some(({ name, kind }) => kind === 'operator' && /^~~\*?$/.test(name) && table.rows > 10_000),
  );
}
