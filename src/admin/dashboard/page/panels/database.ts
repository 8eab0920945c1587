import type { ServerFigure } from '../../../../postgres/statistics/figures.js';
import type { DatabaseAnswer, Shown } from '../answers.js';
import { byId, FactList, setShown, setText } from '../dom.js';
import { NOTHING, showBytes, showCount, showDuration, showShare } from '../format.js';

type Fact = readonly [name: string, value: string];

/** The pool of connections, and the server. */
export class DatabasePanel {
  readonly #pool = new FactList(byId('pool-facts'));
  readonly #server = new FactList(byId('server-facts'));

  show({ database }: Shown): void {
    if (!database) return;
    const { pool, statistics } = database;
    setShown(byId('database-empty'), pool === null);
    setShown(byId('database-part'), pool !== null);
    setShown(byId('server-part'), statistics !== null);
    setText(byId('database-hint'), hintOf(database));
    this.#pool.show(poolFacts(database));
    this.#server.show(serverFacts(database));
  }
}

function hintOf({ statistics, monitor }: DatabaseAnswer): string {
  const server = statistics?.server.value;
  const parts = [
    ...(server ? [`PostgreSQL ${server.version}`] : []),
    ...(monitor ? [`${showCount(monitor.queries.queries)} queries since the start`] : []),
  ];
  return parts.join(' · ');
}

function poolFacts({ pool, monitor }: DatabaseAnswer): Fact[] {
  if (pool === null) return [];
  const facts: Fact[] = [
    ['Connections', `${showCount(pool.totalCount)} open, ${showCount(pool.activeCount)} in use`],
    ['Queries that wait', showCount(pool.waitingCount)],
    ['Saturated', pool.isSaturated === null ? 'unknown' : pool.isSaturated ? 'yes: all in use' : 'no'],
  ];
  if (!monitor) return facts;
  const { wait, use, opened, closed, breaker, retries, leakSuspects } = monitor.pool;
  facts.push(
    ['Wait for a connection, p95', showDuration(wait.p95)],
    ['Use of a connection, p95', showDuration(use.p95)],
    ['Opened and closed', `${showCount(opened)} and ${showCount(closed)}`],
  );
  if (breaker !== null) facts.push(['Breaker', breaker]);
  if (retries > 0) facts.push(['Repeated reads', showCount(retries)]);
  for (const { place, seconds } of leakSuspects.slice(0, 3))
    facts.push([`Not released for ${showDuration(seconds)}`, place ?? 'unknown place']);
  return facts;
}

function serverFacts({ statistics }: DatabaseAnswer): Fact[] {
  if (!statistics) return [];
  const { connections, activity, buffers, blockedSessions, longTransactions } = statistics;
  return [
    ['Size', figureText(activity, ({ sizeBytes }) => showBytes(sizeBytes))],
    [
      'Sessions',
      figureText(connections, ({ total, active }) => `${showCount(total)}, ${showCount(active)} active`),
    ],
    ['Tables found in memory', figureText(buffers, ({ heap }) => showShare(heap.hitRatio))],
    ['Indexes found in memory', figureText(buffers, ({ index }) => showShare(index.hitRatio))],
    ['Blocked sessions', figureText(blockedSessions, ({ length }) => showCount(length))],
    ['Long transactions', figureText(longTransactions, ({ length }) => showCount(length))],
    ['Deadlocks', figureText(activity, ({ deadlocks }) => showCount(deadlocks))],
  ];
}

/** The figure, or why there is none. */
export function figureText<T>({ value, reason }: ServerFigure<T>, read: (value: T) => string): string {
  return value === null ? (reason ?? NOTHING) : read(value);
}
