import { warn } from './warn.js';

/** Two copies of the package share it, so that together they warn once per interval. */
const FAULTS = Symbol.for('hotpath.faults');
const INTERVAL_MS = 10_000;

/** Most kinds of faults that are limited apart. Messages may contain ids, so there may be any number of them. */
const MOST_KINDS = 50;

interface Quiet {
  silentUntil: number;
  /** Faults since the last warning that caused none. */
  unsaid: number;
}

interface Holder {
  [FAULTS]?: Map<string, Quiet>;
}

/**
 * Reports an internal error, or an exception in a user's function, as a process warning with code `HOTPATH_FAULT`. Each
 * place and message gets at most one every ten seconds, with the number of those in between.
 * It does not affect the request, and never throws.
 */
export function reportFault(where: string, error: unknown): void {
  const faults = ((globalThis as Holder)[FAULTS] ??= new Map());
  const now = Date.now();
  const quiet = quietFor(faults, where, error, now);
  if (now < quiet.silentUntil) {
    quiet.unsaid++;
    return;
  }
  const more = quiet.unsaid > 0 ? ` (and ${quiet.unsaid} more times since the last warning)` : '';
  quiet.silentUntil = now + INTERVAL_MS;
  quiet.unsaid = 0;
  warn('HOTPATH_FAULT', `${where} failed; the request went on without it${more}`, describeError(error));
}

/** When the map is full, all further messages of a place count as one, and all further places as one. */
function quietFor(faults: Map<string, Quiet>, where: string, error: unknown, now: number): Quiet {
  const kinds = [`${where}\n${messageOf(error).slice(0, 200)}`, where, ''];
  if (faults.size >= MOST_KINDS) {
    for (const [kind, { silentUntil }] of faults) if (silentUntil <= now) faults.delete(kind);
  }
  const bounds = [MOST_KINDS, 2 * MOST_KINDS, Number.POSITIVE_INFINITY];
  const kind = kinds.find((each, at) => faults.has(each) || faults.size < (bounds[at] as number)) as string;
  let quiet = faults.get(kind);
  if (!quiet) faults.set(kind, (quiet = { silentUntil: 0, unsaid: 0 }));
  return quiet;
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
