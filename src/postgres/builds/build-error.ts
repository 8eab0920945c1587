import { codeOf } from '../driver.js';
import type { BuildReason } from './types.js';

/** Why an attempt has failed. */
export interface BuildFailure {
  readonly reason: BuildReason;
  /** The code of the server; `null`: it sent none. */
  readonly sqlstate: string | null;
  /** Whether a further attempt may succeed by itself. */
  readonly mayRetry: boolean;
}

/** A failure that hotpath has found itself. */
export class BuildError extends Error {
  readonly reason: BuildReason;
  readonly mayRetry: boolean;

  constructor(reason: BuildReason, mayRetry: boolean) {
    super(reason);
    this.reason = reason;
    this.mayRetry = mayRetry;
  }
}

/** By SQLSTATE. A cancelled query or an ended backend is the decision of a person, so it is not tried again. */
const FAILURES: Readonly<Record<string, readonly [reason: BuildReason, mayRetry: boolean]>> = {
  '55P03': ['lock-timeout', true],
  '40P01': ['deadlock', true],
  '57014': ['cancelled', false],
  '57P01': ['backend-terminated', false],
  '57P02': ['backend-terminated', false],
  '57P03': ['connection-lost', true],
  '53300': ['connection-lost', true],
  '53100': ['disk-full', false],
  '42501': ['right-missing', false],
  '42P01': ['no-table', false],
};

/** Reads the error of an attempt. */
export function readFailure(error: unknown): BuildFailure {
  if (error instanceof BuildError) {
    const { reason, mayRetry } = error;
    return { reason, sqlstate: null, mayRetry };
  }
  const sqlstate = codeOf(error);
  if (sqlstate === 'connection') return { reason: 'connection-lost', sqlstate: null, mayRetry: true };
  if (sqlstate.startsWith('08')) return { reason: 'connection-lost', sqlstate, mayRetry: true };
  const [reason, mayRetry] = FAILURES[sqlstate] ?? (['error', false] as const);
  return { reason, sqlstate, mayRetry };
}
