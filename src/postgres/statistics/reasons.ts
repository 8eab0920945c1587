import { codeOf } from '../driver.js';
import type { AbsenceReason } from './figures.js';

const BY_CODE: Readonly<Record<string, AbsenceReason>> = {
  '42501': 'permission-denied',
  '53300': 'too-many-connections',
  // Cancelled by `statement_timeout`, and `lock_timeout`.
  '57014': 'timeout',
  '55P03': 'timeout',
  // Shutting down, crashed, or starting.
  '57P01': 'unavailable',
  '57P02': 'unavailable',
  '57P03': 'unavailable',
  // Unknown tables, functions and columns.
  '42P01': 'unsupported',
  '42883': 'unsupported',
  '42703': 'unsupported',
  '0A000': 'unsupported',
  connection: 'unavailable',
};

/**
 * Names the cause of an error without its message, which may hold hosts and users. Errors without a code come from the
 * driver: the connection broke, or no reply came in time.
 */
export function absenceOf(error: unknown): AbsenceReason {
  // A fault of ours has no code either.
  if (error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError)
    return 'failed';
  const code = codeOf(error);
  if (code.startsWith('08')) return 'unavailable';
  if (code.startsWith('28')) return 'authentication-failed';
  return BY_CODE[code] ?? 'failed';
}
