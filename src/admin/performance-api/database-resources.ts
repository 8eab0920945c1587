import type { PostgresDatabase } from '../../postgres/database.js';
import { ANALYZE_ID_FORM, MOST_IDS, type StartRefusal } from '../../postgres/maintenance/analyze.js';
import { PoolerError } from '../../postgres/sessions.js';
import { absenceOf } from '../../postgres/statistics/reasons.js';
import type { ProblemStatus } from '../respond.js';
import type { ParameterName, Query } from './query.js';
import {
  AcceptedResult,
  type BodyResource,
  type FigureResource,
  type ResourceFigures,
  ResourceProblem,
  TextResult,
} from './resource-result.js';

export const NO_DATABASE = new ResourceProblem(
  409,
  'There is no database: set `postgres` to the result of postgres(pool).',
);

const NOT_REACHED = new ResourceProblem(503, 'The database is unavailable.');
const POOLER = new ResourceProblem(
  409,
  'The connection goes through a pooler: set `connection` of postgres() to the address of the server.',
);

/** Without the message of an error, which may name a host or a user. @throws an error of hotpath itself. */
export function problemOfDatabase(error: unknown): ResourceProblem {
  if (error instanceof PoolerError) return POOLER;
  if (absenceOf(error) === 'failed') throw error;
  return NOT_REACHED;
}

type MakeResource = (
  read: (query: Query) => Promise<ResourceFigures | ResourceProblem>,
  ...parameters: readonly ParameterName[]
) => FigureResource;

/** The resources of the database: its report and its maintenance. */
export function makeDatabaseResources(
  database: PostgresDatabase | undefined,
  resource: MakeResource,
): readonly (readonly [path: string, FigureResource | BodyResource])[] {
  const maintenance = database?.maintenance;
  const figures = async (): Promise<ResourceFigures | ResourceProblem> =>
    maintenance
      ? { stable: { isAnalyzeAllowed: maintenance.isAnalyzeAllowed }, volatile: await maintenance.figures() }
      : NO_DATABASE;
  return [
    ['/database/report', reportResource(database)],
    ['/indexes', resource(indexReader(database))],
    ['/maintenance', resource(figures)],
    ['/maintenance/analyze', analyzeResource(database)],
    ['/maintenance/analyze/state', resource((query) => readAnalyzeStates(database, query), 'ids', 'since')],
  ];
}

function reportResource(database: PostgresDatabase | undefined): FigureResource {
  return {
    method: 'GET',
    parameters: ['format', 'indexes'],
    read: async ({ format, indexes }, req) => {
      if (!database) return NO_DATABASE;
      const isMarkdown = format === undefined ? prefersMarkdown(req.headers.accept) : format === 'markdown';
      if (!isMarkdown) return database.report({ indexes });
      const text = await database.report({ format: 'markdown', indexes });
      return new TextResult('text/markdown; charset=utf-8', text);
    },
  };
}

/** Clients name it, because browsers and tools accept anything. */
function prefersMarkdown(accept = ''): boolean {
  const types = accept.split(',').map((each) => each.split(';', 1)[0]!.trim().toLowerCase());
  const at = types.indexOf('text/markdown');
  const json = types.indexOf('application/json');
  return at >= 0 && (json < 0 || at < json);
}

async function readAnalyzeStates(
  database: PostgresDatabase | undefined,
  { ids, since }: Query,
): Promise<ResourceFigures | ResourceProblem> {
  if (!database) return NO_DATABASE;
  if (ids.length === 0) return new ResourceProblem(400, '`ids` is missing.');
  try {
    return { stable: {}, volatile: { tables: await database.maintenance.analyzeStates(ids, since) } };
  } catch (error) {
    return problemOfDatabase(error);
  }
}

function analyzeResource(database: PostgresDatabase | undefined): BodyResource {
  return {
    method: 'POST',
    action: 'change',
    run: (body) => {
      if (!database) return NO_DATABASE;
      const ids = readIds(body);
      if (ids instanceof ResourceProblem) return ids;
      return ids === undefined ? previewAnalyze(database) : startAnalyze(database, ids);
    },
  };
}

const BODY = new ResourceProblem(
  400,
  `The body is {} for a dry run, or {"dryRun":false,"ids":[...]} with 1 to ${MOST_IDS} ids of one.`,
);

/** @returns `undefined` for a dry run. */
export function readIds(body: unknown): readonly string[] | undefined | ResourceProblem {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return BODY;
  const { dryRun = true, ids, ...others } = body as { dryRun?: unknown; ids?: unknown };
  if (Object.keys(others).length > 0) return BODY;
  if (dryRun === true && ids === undefined) return undefined;
  const isList =
    Array.isArray(ids) &&
    ids.length > 0 &&
    ids.length <= MOST_IDS &&
    ids.every((id) => typeof id === 'string' && ANALYZE_ID_FORM.test(id));
  return dryRun === false && isList ? [...new Set<string>(ids)] : BODY;
}

async function previewAnalyze({ maintenance }: PostgresDatabase): Promise<unknown> {
  const { staleTables } = await maintenance.figures();
  return { dryRun: true, isAllowed: maintenance.isAnalyzeAllowed, staleTables };
}

async function startAnalyze(database: PostgresDatabase, ids: readonly string[]): Promise<unknown> {
  const started = await database.maintenance.startAnalyze(ids);
  if (typeof started === 'string') {
    const { status, detail } = REFUSALS[started as keyof typeof REFUSALS] ?? UNAVAILABLE;
    return new ResourceProblem(status, detail);
  }
  const { tables, since } = started;
  const query = `ids=${ids.join(',')}&since=${since}`;
  const state = `/maintenance/analyze/state?${query}`;
  return new AcceptedResult({ dryRun: false, tables, since, state }, `analyze/state?${query}`);
}

const UNAVAILABLE: { status: ProblemStatus; detail: string } = {
  status: 503,
  detail: 'The database is unavailable.',
};

const REFUSALS: { readonly [Refusal in Exclude<StartRefusal, 'unavailable'>]?: typeof UNAVAILABLE } = {
  'not-allowed': {
    status: 403,
    detail: 'The app does not allow it: set `maintenance: { analyze: true }` in the options of postgres().',
  },
  'not-owner': {
    status: 403,
    detail: 'The role of the app may not analyze one of the tables: it does not own it.',
  },
  'unknown-id': {
    status: 404,
    detail: 'An id is unknown, or its table is not stale any more. Request a dry run again.',
  },
  standby: { status: 409, detail: 'The server is a standby, which analyzes nothing.' },
  busy: { status: 409, detail: 'ANALYZE is running already; one run at a time is possible in a database.' },
  pooler: POOLER,
};

/** A report plans every statement, so one serves the requests of this time. Milliseconds. */
const REPORT_HOLDS = 15_000;

function indexReader(
  database: PostgresDatabase | undefined,
): () => Promise<ResourceFigures | ResourceProblem> {
  let last: { readonly at: number; readonly report: ReturnType<PostgresDatabase['indexes']> } | undefined;
  return async () => {
    if (!database) return NO_DATABASE;
    if (!last || performance.now() - last.at > REPORT_HOLDS)
      last = { at: performance.now(), report: database.indexes() };
    try {
      const { level, notes, ...lists } = await last.report;
      return { stable: { level, notes }, volatile: lists };
    } catch (error) {
      last = undefined;
      return problemOfDatabase(error);
    }
  };
}
