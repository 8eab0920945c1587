import type { Listening } from './moment.js';

/** Two copies of the package together still warn once per interval. */
const FAULTS = Symbol.for('hotpath.faults');
const INTERVAL = 10_000;

interface Holder {
  [FAULTS]?: { silentUntil: number };
}

/**
 * Reports a fault of ours, or of a user's hook, without touching the request: a process warning with code
 * `HOTPATH_FAULT`, at most one every ten seconds.
 */
export function reportFault(where: string, error: unknown): void {
  const state = ((globalThis as Holder)[FAULTS] ??= { silentUntil: 0 });
  const now = Date.now();
  if (now < state.silentUntil) return;
  state.silentUntil = now + INTERVAL;
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`hotpath: ${where} failed; the request went on without it`, {
    code: 'HOTPATH_FAULT',
    type: 'HotpathWarning',
    detail,
  });
}

/** Runs one listener of a moment; what it throws is reported and goes no further. */
export function runGuarded<Subject>(
  listener: (subject: Subject) => void,
  subject: Subject,
  moment: string,
): void {
  try {
    listener(subject);
  } catch (error) {
    reportFault(moment, error);
  }
}

/** Runs the listeners of a moment; those that are added meanwhile as well. */
export function runAll<Subject>(
  first: Listening<(subject: Subject) => void> | undefined,
  subject: Subject,
  moment: string,
): void {
  for (let at = first; at; at = at.next) runGuarded(at.listener, subject, moment);
}
