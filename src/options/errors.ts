/** Stable identifiers of all errors. Compare these, not messages. */
export type HotpathErrorCode =
  | 'HOTPATH_CONFIG_INVALID'
  | 'HOTPATH_BODY_TOO_LARGE'
  | 'HOTPATH_BODY_CODING'
  | 'HOTPATH_BODY_TOO_SLOW'
  | 'HOTPATH_BODY_OVERLOAD'
  | 'HOTPATH_SELECTOR_INVALID'
  | 'HOTPATH_REQUEST_INVALID'
  | 'HOTPATH_ATTACH_INVALID'
  | 'HOTPATH_WARMING_INVALID'
  | 'HOTPATH_ARGUMENTS_INVALID'
  | 'HOTPATH_RESULT_INVALID'
  | 'HOTPATH_FUNCTION_TIMEOUT'
  | 'HOTPATH_DATABASE_UNAVAILABLE';

/** One mistake in a config. */
export interface ConfigProblem {
  /** Its path, as written in code: `cache.memory.maxBytes`, `routes['/a'].cache.ttl`. */
  readonly path: string;
  /** The accepted values, or why the combination is invalid. */
  readonly message: string;
  /**
   * The received value as text, shortened and with passwords in URLs masked; absent when the mistake is not in
   * one value. Text, because errors are logged and the value may be large or secret.
   */
  readonly received?: string;
}

/** Details of a `HotpathError` besides its code and message. */
export interface HotpathErrorDetails {
  /** Every mistake found, for `HOTPATH_CONFIG_INVALID`. */
  problems?: readonly ConfigProblem[];
  /** The underlying error. */
  cause?: unknown;
}

// A registered symbol, because the ESM and the CommonJS copy of the package must recognise each other's errors.
const brand = Symbol.for('hotpath.error');

/**
 * The only error class of the package.
 *
 * `instanceof HotpathError` also holds for errors of another copy of the package.
 */
export class HotpathError extends Error {
  // A literal, because minifiers rename classes and so `constructor.name`.
  override readonly name = 'HotpathError';
  /** An identifier of the error that does not change between versions. */
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

/** Whether a value is a `HotpathError` of this or another copy of the package. */
export function isHotpathError(value: unknown): value is HotpathError {
  return value instanceof Error && (value as { [brand]?: unknown })[brand] === true;
}

/** The error for a config, with each problem on its own line. */
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
