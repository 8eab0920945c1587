import { performance } from 'node:perf_hooks';
import { InternTable } from '../../runtime/intern.js';
import { DurationHistogram } from '../../telemetry/requests/histogram.js';
import type { DriverQuery } from '../driver.js';
import { isPlainRead } from '../resilience/plain-read.js';
import { type Fingerprint, fingerprintOf } from './fingerprint.js';
import { type BoundValues, copyValues } from './sample.js';

/** Characters of statements, as the app sends them, whose fingerprints are remembered. */
const MOST_CHARACTERS = 1_000_000;

/** A statement that did not run for this time makes room for a new one. Milliseconds. */
const IDLE_AFTER = 3_600_000;

/** Between two searches for such statements. Milliseconds. */
const SWEEP_INTERVAL = 60_000;

/** A sample is replaced after this time, and dropped after `IDLE_AFTER`. Milliseconds. */
const SAMPLE_AGE = 60_000;

/** The durations of the queries of one operation. */
export interface OperationSeries {
  readonly seconds: { observe(seconds: number): void };
  rows: number;
}

/** A statement as the app ran it last. In memory alone: no output of the package shows it. */
export interface StatementSample {
  readonly text: string;
  readonly values: BoundValues;
  /** Prepared under a name, so that the server may keep a plan without values. */
  readonly isNamed: boolean;
  /** `performance.now()`. */
  readonly at: number;
}

/** The counts of one fingerprint. */
export class Statement {
  readonly fingerprint: Fingerprint;
  readonly series: OperationSeries;
  readonly durations = new DurationHistogram();
  errors = 0;
  rows = 0;
  slow = 0;
  /** Cursors, streams and COPY: the app decides how long they take. */
  streams = 0;
  /** `performance.now()`. */
  lastAt = 0;
  /** The plan of a slow query of this fingerprint, without values; `undefined` before. */
  plan: readonly string[] | undefined;
  /** When a sample was last taken or refused. */
  #sampledAt = Number.NEGATIVE_INFINITY;
  #sample: StatementSample | undefined;
  #isPlainRead: boolean | undefined;

  constructor(fingerprint: Fingerprint, series: OperationSeries) {
    this.fingerprint = fingerprint;
    this.series = series;
  }

  /** Whether its text proves that it only reads. */
  get isPlainRead(): boolean {
    this.#isPlainRead ??= isPlainRead(this.fingerprint.text);
    return this.#isPlainRead;
  }

  /** Keeps text and values of a query from time to time. */
  offerSample(query: DriverQuery, text: string, values: unknown, now: number): void {
    if (now - this.#sampledAt < SAMPLE_AGE) return;
    this.#sampledAt = now;
    const copied = copyValues(text, values);
    if (copied) this.#sample = { text, values: copied, isNamed: isNamed(query), at: now };
  }

  /** The values of the app for this statement, unless they are older than an hour. */
  get sample(): StatementSample | undefined {
    if (this.#sample && performance.now() - this.#sample.at > IDLE_AFTER) this.#sample = undefined;
    return this.#sample;
  }
}

/** The statements of a pool, by fingerprint. Their number is bounded; further ones count as one. */
export class Statements {
  /** Queries that were counted as `other`. */
  readonly other: Statement;
  readonly #most: number;
  readonly #seriesOf: (operation: string) => OperationSeries;
  readonly #byFingerprint = new Map<string, Statement>();
  readonly #byText = new InternTable<Statement>(MOST_CHARACTERS);
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(most: number, seriesOf: (operation: string) => OperationSeries) {
    this.#most = most;
    this.#seriesOf = seriesOf;
    this.other = new Statement({ text: 'other', operation: 'OTHER' }, seriesOf('OTHER'));
  }

  /** @param text as the app sends it. */
  of(text: string): Statement {
    return this.#byText.get(text, this.#find);
  }

  /** Every statement that was counted, those beyond the bound as one. */
  list(): Statement[] {
    const { other } = this;
    const all = [...this.#byFingerprint.values()];
    return other.lastAt > 0 ? [...all, other] : all;
  }

  get size(): number {
    return this.#byFingerprint.size;
  }

  readonly #find = (text: string): Statement => {
    const fingerprint = fingerprintOf(text);
    const known = this.#byFingerprint.get(fingerprint.text);
    if (known) return known;
    if (this.#byFingerprint.size >= this.#most) this.#sweep();
    if (this.#byFingerprint.size >= this.#most) return this.other;
    const statement = new Statement(fingerprint, this.#seriesOf(fingerprint.operation));
    this.#byFingerprint.set(fingerprint.text, statement);
    return statement;
  };

  #sweep(): void {
    const now = performance.now();
    if (now - this.#sweptAt < SWEEP_INTERVAL) return;
    this.#sweptAt = now;
    for (const [key, { lastAt }] of this.#byFingerprint) {
      if (now - lastAt > IDLE_AFTER) this.#byFingerprint.delete(key);
    }
  }
}

/** Whether the server keeps the statement prepared. */
function isNamed(query: DriverQuery): boolean {
  return typeof query === 'object' && Boolean(query?.name);
}
