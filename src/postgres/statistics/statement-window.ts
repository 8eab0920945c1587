import { fingerprintOf } from '../monitor/fingerprint.js';
import { OWN_MARK, type Session } from '../sessions.js';
import { AbsentFigure, PartialReading } from './collector.js';
import type { ServerStatement, StatementWindow } from './figures.js';

import { millis, readRow, readRows } from './rows.js';

/** Statements of one reading; the server keeps 5,000 by default. */
const MOST_READ = 5_000;

const MOST_SHOWN = 50;

/** More are looked at, because some have the same fingerprint, and some are of hotpath. */
const MOST_CANDIDATES = 200;

/** A reading takes the place of the older of two after this time, so that a window is of half an hour at least. */
const ROTATE_AFTER = 1_800_000;

/** Counters of one statement since the server reset them. */
interface Counters {
  readonly calls: number;
  readonly ms: number;
  readonly rows: number;
  readonly hit: number;
  readonly read: number;
  readonly temp: number;
}

interface CounterRow extends Counters {
  readonly key: string;
  /** `null`: this role may not see the statement. */
  readonly id: string | null;
  /** No function ran it, whose own time would contain it. */
  readonly isTop: boolean;
}

interface CounterReading {
  /** Of the server. Milliseconds since 1970. */
  readonly at: number;
  readonly resetAt: number | null;
  readonly dropped: number | null;
  readonly counters: ReadonlyMap<string, CounterRow>;
}

const ZERO: Counters = { calls: 0, ms: 0, rows: 0, hit: 0, read: 0, temp: 0 };

/**
 * Reads `pg_stat_statements` by differences, so that it need not reset counters that others use. Two earlier readings
 * are kept: the window begins with the older one, half an hour to an hour ago once there is one.
 */
export class StatementReader {
  #older: CounterReading | undefined;
  #newer: CounterReading | undefined;

  /**
   * @throws AbsentFigure without the extension.
   * @throws the error of the server or of the connection.
   */
  async read(session: Session): Promise<StatementWindow | PartialReading<StatementWindow>> {
    const view = await findView(session);
    const now = await readCounters(session, view);
    const before = this.#windowStart(now);
    const changed = [...now.counters.values()]
      .map((row) => ({ row, change: changeOf(row, before?.counters.get(row.key)) }))
      .filter(({ change }) => change.calls > 0)
      .sort((a, b) => b.change.ms - a.change.ms);
    const candidates = changed.slice(0, MOST_CANDIDATES);
    const texts = await readTexts(session, view, candidates);
    const isOwn = ({ row: { id } }: Changed) => id !== null && texts.get(id)?.includes(OWN_MARK) === true;
    const shown = candidates.filter((each) => !isOwn(each));
    const all = changed.filter((each) => each.row.isTop && !isOwn(each));
    const sum = (read: (change: Counters) => number) => all.reduce((so, { change }) => so + read(change), 0);
    const window: StatementWindow = {
      since: before ? before.at : now.resetAt,
      isSinceReset: before === undefined,
      dropped: now.dropped === null ? null : now.dropped - (before?.dropped ?? 0),
      calls: sum(({ calls }) => calls),
      seconds: sum(({ ms }) => ms) / 1000,
      statements: mergeByText(shown, texts).slice(0, MOST_SHOWN),
    };
    const isHidden = changed.some(({ row }) => row.id === null);
    return isHidden ? new PartialReading(window) : window;
  }

  /** The reading with which the window begins; `undefined`: with the reset of the counters. */
  #windowStart(now: CounterReading): CounterReading | undefined {
    // A reset makes earlier readings worthless.
    if (this.#newer && this.#newer.resetAt !== now.resetAt) this.#older = this.#newer = undefined;
    const start = this.#older;
    this.#older ??= now;
    this.#newer ??= now;
    if (now.at - this.#newer.at >= ROTATE_AFTER) {
      this.#older = this.#newer;
      this.#newer = now;
    }
    return start;
  }
}

/** Columns of the view: the version of the extension may lag behind that of the server. */
interface ViewColumns {
  /** The schema as a quoted identifier. */
  readonly schema: string;
  readonly hasTopLevel: boolean;
  readonly hasInfo: boolean;
  /** `total_exec_time`, or `total_time` before 1.8. */
  readonly time: string;
}

async function findView(session: Session): Promise<ViewColumns> {
  const [view] = await readRows<ViewColumns>(
    session,
    `SELECT quote_ident(n.nspname) AS schema,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'toplevel') AS "hasTopLevel",
       EXISTS (
         SELECT FROM pg_class i WHERE i.relnamespace = n.oid AND i.relname = 'pg_stat_statements_info'
       ) AS "hasInfo",
       CASE WHEN EXISTS (
         SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'total_exec_time'
       ) THEN 'total_exec_time' ELSE 'total_time' END AS time
     FROM pg_extension e
     JOIN pg_namespace n ON n.oid = e.extnamespace
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements'
     WHERE e.extname = 'pg_stat_statements'`,
  );
  if (!view) throw new AbsentFigure('extension-missing');
  return view;
}

async function readCounters(session: Session, view: ViewColumns): Promise<CounterReading> {
  const { schema, hasTopLevel, hasInfo, time } = view;
  try {
    const { at, resetAt, dropped } = await readRow<Omit<CounterReading, 'counters'>>(
      session,
      hasInfo
        ? `SELECT ${millis('clock_timestamp()')} AS at, ${millis('stats_reset')} AS "resetAt", dealloc AS dropped
           FROM ${schema}.pg_stat_statements_info`
        : `SELECT ${millis('clock_timestamp()')} AS at, NULL AS "resetAt", NULL AS dropped`,
    );
    const rows = await readRows<CounterRow>(
      session,
      // `false` leaves out the texts, which are in a file of the server.
      `SELECT concat_ws(' ', userid, queryid${hasTopLevel ? ', toplevel' : ''}) AS key, queryid::text AS id,
         ${hasTopLevel ? 'toplevel' : 'true'} AS "isTop", calls, ${time} AS ms, rows, shared_blks_hit AS hit, shared_blks_read AS read,
         temp_blks_read + temp_blks_written AS temp
       FROM ${schema}.pg_stat_statements(false)
       WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       ORDER BY ${time} DESC LIMIT ${MOST_READ}`,
    );
    return { at, resetAt, dropped, counters: new Map(mergeHidden(rows).map((row) => [row.key, row])) };
  } catch (error) {
    if ((error as { code?: unknown }).code === '55000') throw new AbsentFigure('extension-not-loaded');
    throw error;
  }
}

/** Statements that the role may not see have no id: those of one role count as one. */
function mergeHidden(rows: readonly CounterRow[]): CounterRow[] {
  const hidden = new Map<string, CounterRow>();
  for (const row of rows) {
    if (row.id !== null) continue;
    const before = hidden.get(row.key);
    hidden.set(row.key, before ? { ...row, ...addCounters(before, row) } : row);
  }
  return [...rows.filter(({ id }) => id !== null), ...hidden.values()];
}

/** A statement that was dropped meanwhile, and came back, begins at 0. */
function changeOf(now: Counters, before: Counters = ZERO): Counters {
  if (now.calls < before.calls) return now;
  return mapCounters((name) => Math.max(0, now[name] - before[name]));
}

function addCounters(a: Counters, b: Counters): Counters {
  return mapCounters((name) => a[name] + b[name]);
}

function mapCounters(read: (name: keyof Counters) => number): Counters {
  return {
    calls: read('calls'),
    ms: read('ms'),
    rows: read('rows'),
    hit: read('hit'),
    read: read('read'),
    temp: read('temp'),
  };
}

interface Changed {
  readonly row: CounterRow;
  readonly change: Counters;
}

async function readTexts(
  session: Session,
  { schema }: ViewColumns,
  changed: readonly Changed[],
): Promise<ReadonlyMap<string, string>> {
  const ids = changed.flatMap(({ row }) => (row.id === null ? [] : [row.id]));
  const rows = await readRows<{ id: string; query: string }>(
    session,
    `SELECT DISTINCT ON (queryid) queryid::text AS id, left(query, 10000) AS query
     FROM ${schema}.pg_stat_statements WHERE queryid::text = ANY ($1)`,
    [ids],
  );
  return new Map(rows.map(({ id, query }) => [id, query]));
}

/** Statements with one fingerprint count as one. */
function mergeByText(
  all: readonly Changed[],
  texts: ReadonlyMap<string, string>,
): readonly ServerStatement[] {
  const merged = new Map<string | null, Counters>();
  for (const { row, change } of all) {
    const query = row.id === null ? undefined : texts.get(row.id);
    const text = query === undefined ? null : fingerprintOf(query).text;
    const before = merged.get(text);
    merged.set(text, before ? addCounters(before, change) : change);
  }
  return [...merged]
    .map(([text, { calls, ms, rows, hit, read, temp }]) => ({
      text,
      calls,
      seconds: ms / 1000,
      meanSeconds: ms / calls / 1000,
      rows,
      hitBlocks: hit,
      readBlocks: read,
      tempBlocks: temp,
    }))
    .sort((a, b) => b.seconds - a.seconds);
}
