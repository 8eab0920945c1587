import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import type { Session, SessionLimits, Sessions } from '../sessions.js';
import type { AbsenceReason, DatabaseStatistics, ServerFigure, ServerReadings } from './figures.js';
import {
  PartialReading,
  readActivity,
  readBlockedSessions,
  readBuffers,
  readConnections,
  readLongTransactions,
  readServer,
  readTables,
  type StatisticsReading,
} from './readings.js';
import { absenceOf } from './reasons.js';
import { ExtensionProblem, StatementReader } from './statement-window.js';

/** Options of the statistics, resolved. Seconds. */
export interface StatisticsSettings {
  readonly cacheFor: number;
  readonly timeout: number;
}

/** A statement of the statistics may take longer than callers wait: the next ones get its figure. Milliseconds. */
const LIMITS: SessionLimits = { statementTimeout: 2_000, lockTimeout: 200, replyTimeout: 3_000 };

type Readings = { readonly [Name in keyof ServerReadings]: StatisticsReading<ServerReadings[Name]> };
type Figures = { [Name in keyof ServerReadings]: ServerFigure<ServerReadings[Name]> };

/**
 * Reads statistics on a connection of its own: one collection at a time, which all callers share and whose result holds
 * for a while. It never rejects, and a server that hangs does not hold callers up.
 */
export class StatisticsCollector {
  readonly #sessions: Sessions;
  readonly #settings: StatisticsSettings;
  readonly #readings: Readings;
  #running: Collection | undefined;
  #last: DatabaseStatistics | undefined;
  /** When `#last` came. `performance.now()`. */
  #lastAt = 0;

  constructor(sessions: Sessions, settings: StatisticsSettings) {
    this.#sessions = sessions;
    this.#settings = settings;
    const statements = new StatementReader();
    // In the order of their importance, because the time may end.
    this.#readings = {
      server: readServer,
      connections: readConnections,
      blockedSessions: readBlockedSessions,
      longTransactions: readLongTransactions,
      activity: readActivity,
      buffers: readBuffers,
      tables: readTables,
      statements: (session) => statements.read(session),
    };
  }

  /** The last statistics while they hold, else new ones, as far as they come in time. */
  async read(): Promise<DatabaseStatistics> {
    const { cacheFor, timeout } = this.#settings;
    if (this.#last && performance.now() - this.#lastAt < cacheFor * 1000) return this.#last;
    const collection = (this.#running ??= this.#start());
    await collection.within(timeout * 1000);
    return this.#keep(collection);
  }

  #start(): Collection {
    const collection = new Collection(this.#readings);
    const end = guarded('statistics', () => {
      this.#running = undefined;
      this.#keep(collection);
    });
    void unawaited(runInOwnContext(() => collection.run(this.#sessions)).then(end), 'statistics');
    return collection;
  }

  /** Keeps the figures so far: further callers need not wait for a server that hangs. */
  #keep(collection: Collection): DatabaseStatistics {
    this.#last = collection.result();
    this.#lastAt = performance.now();
    return this.#last;
  }
}

/** One collection. */
class Collection {
  readonly #readings: Readings;
  readonly #at = Date.now();
  readonly #figures: Partial<Figures> = {};
  /** Of figures that have not been read. */
  #reason: AbsenceReason = 'unavailable';
  #isConnected = false;
  #done: Promise<void> | undefined;

  constructor(readings: Readings) {
    this.#readings = readings;
  }

  /** Never rejects. */
  run(sessions: Sessions): Promise<void> {
    this.#done = sessions
      .use('statistics', LIMITS, (session) => this.#readAll(session))
      .catch((error: unknown) => {
        this.#reason = sessions.isClosed ? 'closed' : absenceOf(error);
      });
    return this.#done;
  }

  /** Resolves at its end, or earlier after a time. @param duration milliseconds. */
  async within(duration: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      // If the event loop was blocked, the replies may have arrived already: they are read first.
      timer = setTimeout(
        guarded('statistics', () => void setImmediate(resolve)),
        duration,
      ).unref();
    });
    await Promise.race([this.#done, late]);
    clearTimeout(timer);
  }

  result(): DatabaseStatistics {
    const missing = { value: null, reason: this.#isConnected ? this.#lateReason() : this.#reason };
    const names = Object.keys(this.#readings) as (keyof ServerReadings)[];
    const figures = Object.fromEntries(names.map((name) => [name, this.#figures[name] ?? missing]));
    return { at: this.#at, isAvailable: this.#hasFigure(), ...(figures as Figures) };
  }

  #lateReason(): AbsenceReason {
    return this.#hasFigure() ? 'timeout' : 'unavailable';
  }

  #hasFigure(): boolean {
    return Object.values(this.#figures).some((figure) => figure.reason !== 'unavailable');
  }

  async #readAll(session: Session): Promise<void> {
    this.#isConnected = true;
    for (const name of Object.keys(this.#readings) as (keyof ServerReadings)[]) {
      const figure = await readFigure(this.#readings[name] as StatisticsReading<unknown>, session);
      (this.#figures as Record<string, ServerFigure<unknown>>)[name] = figure;
      // The connection is lost, or the server hangs: the others would fail alike, each after its time-out.
      if (figure.reason === 'unavailable') return;
    }
  }
}

/** Never rejects. */
async function readFigure<T>(read: StatisticsReading<T>, session: Session): Promise<ServerFigure<T>> {
  try {
    const value = await read(session);
    return value instanceof PartialReading
      ? { value: value.value, reason: 'permission-denied' }
      : { value, reason: null };
  } catch (error) {
    return { value: null, reason: error instanceof ExtensionProblem ? error.reason : absenceOf(error) };
  }
}
