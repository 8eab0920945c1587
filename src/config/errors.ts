/** Stable identifiers of everything that can go wrong; compare these, not messages. */
export type HotpathErrorCode =
  | 'HOTPATH_CONFIG_INVALID'
  | 'HOTPATH_CLOSED'
  | 'HOTPATH_BODY_TOO_LARGE'
  | 'HOTPATH_BODY_CODING'
  | 'HOTPATH_BODY_TOO_SLOW'
  | 'HOTPATH_BODY_OVERLOAD'
  | 'HOTPATH_DISPATCH_FAILED'
  | 'HOTPATH_SELECTOR_INVALID'
  | 'HOTPATH_REQUEST_INVALID'
  | 'HOTPATH_ATTACH_INVALID';

/** One mistake in a config. */
export interface ConfigProblem {
  /** Where it stands, as one would write it: `cache.memory.maxBytes`, `routes['/a'].cache.ttl`. */
  readonly path: string;
  /** What is accepted there, or why the combination makes no sense. */
  readonly message: string;
  /**
   * The value found, as text, shortened and with passwords in URLs masked; absent when the mistake is not in
   * one value. Text, since errors are logged whole and the value may be large or secret.
   */
  readonly received?: string;
}

/** What a `HotpathError` may carry besides its code and message. */
export interface HotpathErrorDetails {
  /** Every mistake found, for `HOTPATH_CONFIG_INVALID`. */
  problems?: readonly ConfigProblem[];
  /** The error beneath. */
  cause?: unknown;
}

// Registered, not private: the ESM and the CommonJS copy of the package must know each other's errors.
const brand = Symbol.for('hotpath.error');

/**
 * The one error class of the package.
 *
 * `instanceof HotpathError` also holds for an error that another copy of the package made.
 */
export class HotpathError extends Error {
  // A literal: minifiers rename classes, and `constructor.name` with them.
  override readonly name = 'HotpathError';
  /** What went wrong, as an identifier that stays the same between versions. */
  readonly code: HotpathErrorCode;
  /** Every mistake found in a config, when `code` is `HOTPATH_CONFIG_INVALID`. */
  readonly problems?: readonly ConfigProblem[];

  constructor(code: HotpathErrorCode, message: string, details: HotpathErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details.problems !== undefined) this.problems = details.problems;
    Object.defineProperty(this, brand, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isHotpathError(value);
  }
}

/** Whether a value is a `HotpathError`, made by this or by another copy of the package. */
export function isHotpathError(value: unknown): value is HotpathError {
  return value instanceof Error && (value as { [brand]?: unknown })[brand] === true;
}

/** The error for a config, listing every problem on a line of its own. */
export function configError(problems: readonly ConfigProblem[]): HotpathError {
  const lines = problems.map(({ path, message, received }) =>
    received === undefined ? `  ${path}: ${message}` : `  ${path}: ${message}, received ${received}`,
  );
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return new HotpathError(
    'HOTPATH_CONFIG_INVALID',
    `Invalid hotpath config (${count}):\n${lines.join('\n')}`,
    {
      problems,
    },
  );
}
