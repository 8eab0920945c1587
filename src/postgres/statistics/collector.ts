import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import type { Session, SessionLimits, Sessions } from '../sessions.js';
import type { AbsenceReason, ServerFigure } from './figures.js';
import { absenceOf } from './reasons.js';

/** A reading that sees less than there is, because the role lacks rights. */
export class PartialReading<T> {
  readonly value: T;

  constructor(value: T) {
    this.value = value;
  }
}

/** A figure cannot be read for a known reason. */
export class AbsentFigure extends Error {
  readonly reason: AbsenceReason;

  constructor(reason: AbsenceReason) {
    super(reason);
    this.reason = reason;
  }
}

/** Reads one figure. @throws AbsentFigure, or the error of the server or of the connection. */
export type FigureReading<T> = (session: Session) => Promise<T | PartialReading<T>>;

/** How each figure is read, in the order of their importance: the time may end. */
export type FigureReadings<Values> = { readonly [Name in keyof Values]: FigureReading<Values[Name]> };

/** Figures that were read together. */
export type CollectedFigures<Values> = {
  /** When they were read. Milliseconds since 1970. */
  readonly at: number;
  /** The server responded. */
  readonly isAvailable: boolean;
} & { readonly [Name in keyof Values]: ServerFigure<Values[Name]> };

/** Seconds. */
export interface CollectorSettings {
  /** How long figures hold. */
  readonly cacheFor: number;
  /** How long callers wait. */
  readonly timeout: number;
}

/** A statement may take longer than callers wait: the next ones get its figure. Milliseconds. */
const LIMITS: SessionLimits = { statementTimeout: 2_000, lockTimeout: 200, replyTimeout: 3_000 };

/**
 * Reads figures on a connection of its own: one collection at a time, which all callers share and whose result holds for a
 * while. It never rejects, and a server that hangs does not hold callers up.
 */
export class FigureCollector<Values extends object> {
  readonly #sessions: Sessions;
  readonly #purpose: string;
  readonly #readings: FigureReadings<Values>;
  readonly #settings: CollectorSettings;
  #running: Collection<Values> | undefined;
  #last: CollectedFigures<Values> | undefined;
  /** When `#last` came. `performance.now()`. */
  #lastAt = 0;

  /** @param purpose follows `hotpath` in `application_name`. */
  constructor(
    sessions: Sessions,
    purpose: string,
    readings: FigureReadings<Values>,
    settings: CollectorSettings,
  ) {
    this.#sessions = sessions;
    this.#purpose = purpose;
    this.#readings = readings;
    this.#settings = settings;
  }

  /** The last figures while they hold, else new ones, as far as they come in time. */
  async read(): Promise<CollectedFigures<Values>> {
    const { cacheFor, timeout } = this.#settings;
    if (this.#last && performance.now() - this.#lastAt < cacheFor * 1000) return this.#last;
    const collection = (this.#running ??= this.#start());
    await collection.within(timeout * 1000);
    return this.#keep(collection);
  }

  #start(): Collection<Values> {
    const collection = new Collection(this.#readings);
    const end = guarded('statistics', () => {
      this.#running = undefined;
      this.#keep(collection);
    });
    const run = () => collection.run(this.#sessions, this.#purpose);
    void unawaited(runInOwnContext(run).then(end), 'statistics');
    return collection;
  }

  /** Keeps the figures so far: further callers need not wait for a server that hangs. */
  #keep(collection: Collection<Values>): CollectedFigures<Values> {
    this.#last = collection.result();
    this.#lastAt = performance.now();
    return this.#last;
  }
}

/** One collection. */
class Collection<Values extends object> {
  readonly #readings: FigureReadings<Values>;
  readonly #at = Date.now();
  readonly #figures = new Map<string, ServerFigure<unknown>>();
  /** Of figures that have not been read. */
  #reason: AbsenceReason = 'unavailable';
  #done: Promise<void> | undefined;

  constructor(readings: FigureReadings<Values>) {
    this.#readings = readings;
  }

  /** Never rejects. */
  run(sessions: Sessions, purpose: string): Promise<void> {
    this.#done = sessions
      .use(purpose, LIMITS, (session) => this.#readAll(session))
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

  result(): CollectedFigures<Values> {
    const isAvailable = [...this.#figures.values()].some(({ reason }) => reason !== 'unavailable');
    const missing = { value: null, reason: isAvailable ? 'timeout' : this.#reason };
    const figures = Object.keys(this.#readings).map((name) => [name, this.#figures.get(name) ?? missing]);
    return { at: this.#at, isAvailable, ...Object.fromEntries(figures) };
  }

  async #readAll(session: Session): Promise<void> {
    for (const [name, read] of Object.entries(this.#readings)) {
      const figure = await readFigure(read as FigureReading<unknown>, session);
      this.#figures.set(name, figure);
      // The connection is lost, or the server hangs: the others would fail alike, each after its time-out.
      if (figure.reason === 'unavailable') return;
    }
  }
}

/** Never rejects. */
async function readFigure<T>(read: FigureReading<T>, session: Session): Promise<ServerFigure<T>> {
  try {
    const value = await read(session);
    return value instanceof PartialReading
      ? { value: value.value, reason: 'permission-denied' }
      : { value, reason: null };
  } catch (error) {
    return { value: null, reason: error instanceof AbsentFigure ? error.reason : absenceOf(error) };
  }
}
