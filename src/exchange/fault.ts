const INTERVAL = 10_000;
let silentUntil = 0;

/**
 * Reports a fault of ours, or of a user's hook, without touching the request: a process warning with code
 * `HOTPATH_FAULT`, at most one every ten seconds.
 */
export function reportFault(where: string, error: unknown): void {
  const now = Date.now();
  if (now < silentUntil) return;
  silentUntil = now + INTERVAL;
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`hotpath: ${where} failed; the request went on without it`, {
    code: 'HOTPATH_FAULT',
    type: 'HotpathWarning',
    detail,
  });
}
