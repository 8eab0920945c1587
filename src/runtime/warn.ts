/** Stable identifiers of all warnings. docs/warnings.md explains each. */
export type HotpathWarningCode =
  | 'HOTPATH_FAULT'
  | 'HOTPATH_FRONT_DOOR_SKIPPED'
  | 'HOTPATH_NO_EFFECT'
  | 'HOTPATH_PURGE_LOCAL'
  | 'HOTPATH_RULE_CHANGED'
  | 'HOTPATH_COOKIES_BYPASS'
  | 'HOTPATH_SIZE_LIMIT_LATE'
  | 'HOTPATH_NOT_FIRST'
  | 'HOTPATH_MOUNTED_TWICE'
  | 'HOTPATH_NOT_USED'
  | 'HOTPATH_NOTHING_SHARED'
  | 'HOTPATH_RULE_SHADOWED'
  | 'HOTPATH_RULE_UNMATCHED'
  | 'HOTPATH_RULE_NO_TTL'
  | 'HOTPATH_PARTITION_EMPTY'
  | 'HOTPATH_RULE_STORES_NOTHING'
  | 'HOTPATH_SETTING_LATE'
  | 'HOTPATH_DURATION_UNIT'
  | 'HOTPATH_ADMIN_LINK'
  | 'HOTPATH_WARMING_FAILED'
  | 'HOTPATH_ARGUMENTS_INVALID'
  | 'HOTPATH_RESULT_INVALID';

/**
 * Emits a process warning. Never throws, although the app may have replaced `emitWarning`.
 *
 * @param message what is wrong, then what to do.
 */
export function warn(code: HotpathWarningCode, message: string, detail?: string): void {
  try {
    process.emitWarning(`hotpath: ${message}`, { code, type: 'HotpathWarning', detail });
  } catch {
    // The app has replaced `emitWarning` by a function that throws.
  }
}

/** The codes of the warnings that each owner has given. */
const given = new WeakMap<object, Set<HotpathWarningCode>>();

/**
 * Emits a process warning once for each owner: a rule, a middleware, the process.
 *
 * @param message makes the text, when it is needed.
 */
export function warnOnce(owner: object, code: HotpathWarningCode, message: () => string): void {
  let codes = given.get(owner);
  if (!codes) given.set(owner, (codes = new Set()));
  if (codes.has(code)) return;
  codes.add(code);
  warn(code, message());
}
