/** Two copies of the package together warn once per interval. */
const FAULTS = Symbol.for('hotpath.faults');
const INTERVAL_MS = 10_000;

interface Holder {
  [FAULTS]?: { silentUntil: number };
}

/**
 * Reports an internal error, or an exception in a user's hook, as a process warning with code
 * `HOTPATH_FAULT`, at most one every ten seconds. It does not affect the request, and never throws.
 */
export function reportFault(where: string, error: unknown): void {
  const state = ((globalThis as Holder)[FAULTS] ??= { silentUntil: 0 });
  const now = Date.now();
  if (now < state.silentUntil) return;
  state.silentUntil = now + INTERVAL_MS;
  try {
    process.emitWarning(`hotpath: ${where} failed; the request went on without it`, {
      code: 'HOTPATH_FAULT',
      type: 'HotpathWarning',
      detail: describeError(error),
    });
  } catch {
    // The app has replaced `emitWarning` by a function that throws.
  }
}

/**
 * The stack of an error, else its message, else the value as text. Never throws, although getters and proxies
 * may.
 */
export function describeError(error: unknown): string {
  return textOf(() => (error as { stack?: unknown }).stack) ?? messageOf(error);
}

/** The message of an error, else the value as text. Never throws. */
export function messageOf(error: unknown): string {
  return (
    textOf(() => (error as { message?: unknown }).message) ??
    textOf(() => String(error)) ??
    'a value that has no text'
  );
}

function textOf(read: () => unknown): string | undefined {
  try {
    const text = read();
    return typeof text === 'string' ? text : undefined;
  } catch {
    return undefined;
  }
}
