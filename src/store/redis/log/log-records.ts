import { canonicalTarget } from '../../../http/canonical-url.js';
import {
  type Cause,
  type RecordKind,
  shortName,
  type Target,
} from '../../invalidation/invalidation-index.js';
import { compileSelector } from '../../invalidation/selector.js';

/** Format version of written records. Readers accept it and every earlier version. */
const VERSION = 1;

/** A parsed record of the log. */
export type LogRecord =
  /** Invalidates everything before it: the server or its data was replaced. */
  | { readonly kind: 'epoch'; readonly epoch: string }
  | {
      readonly kind: RecordKind;
      readonly epoch: string;
      readonly target: Target;
      readonly cause: Cause;
      /** Time of the append on the server's clock. Milliseconds. */
      readonly at: number;
    }
  /**
   * A record of a later version of the package, or a damaged one. Its target is unknown, so it invalidates
   * everything.
   */
  | { readonly kind: 'unknown'; readonly epoch: string };

/**
 * The parts of a record that the writer provides. The script adds version and epoch before them, and the time
 * between them.
 */
export interface RecordBody {
  readonly code: string;
  readonly cause: Cause;
  readonly value: string;
}

/**
 * One field of a stream entry: `version epoch code milliseconds value`. The first two words keep their
 * meaning in every version. It is one string, because the start of an instance reads up to 100,000 records,
 * and its cost grows with the number of strings.
 *
 * If a client caused the record, its time begins with a 0. Versions that do not know this read the same time.
 */
const FORM = /^(\d{1,6}) ([\w-]{1,40}\.\w{0,40}) (?:([a-z]{1,2}) (\d{1,16}) )?/;

const kinds: ReadonlyMap<string, RecordKind> = new Map([
  ['p', 'purge'],
  ['x', 'expire'],
]);
const targets: ReadonlyMap<string, Target['kind']> = new Map([
  ['t', 'tag'],
  ['n', 'url'],
  ['p', 'pattern'],
  ['a', 'all'],
]);
const letters = new Map([...targets].map(([letter, kind]) => [kind, letter]));

/** Earlier versions wrote the URL unchanged. To them, `n` is an unknown kind. */
const URL_AS_IT_CAME = 'u';

export function recordBody(
  kind: RecordKind,
  { kind: target, value }: Target,
  cause: Cause = 'app',
): RecordBody {
  const code = `${kind === 'purge' ? 'p' : 'x'}${letters.get(target)}`;
  return { code, cause, value: target === 'tag' || target === 'url' ? shortName(value) : value };
}

/** Code and cause, as written before the time. */
export function headOf({ code, cause }: Pick<RecordBody, 'code' | 'cause'>): string {
  return `${code} ${cause === 'client' ? '0' : ''}`;
}

/** The text that the scripts build from a body. */
export function formatRecord(epoch: string, body: RecordBody, at: number): string {
  return `${VERSION} ${epoch} ${headOf(body)}${at} ${body.value}`;
}

/** @returns `undefined` for text that is not a record of any version: another program wrote to the stream. */
export function parseRecord(text: string): LogRecord | undefined {
  const [start, version, epoch, code, time] = FORM.exec(text) ?? [];
  if (start === undefined || epoch === undefined) return undefined;
  if (Number(version) !== VERSION || code === undefined) return { kind: 'unknown', epoch };
  if (code === 'e') return { kind: 'epoch', epoch };
  const kind = kinds.get(code[0]!);
  const target = code.length === 2 ? targetOf(code[1]!, text.slice(start.length)) : undefined;
  if (!kind || !target) return { kind: 'unknown', epoch };
  return { kind, epoch, target, cause: /^0\d/.test(time!) ? 'client' : 'app', at: Number(time) };
}

function targetOf(letter: string, value: string): Target | undefined {
  if (letter === URL_AS_IT_CAME) {
    // A long URL was hashed, so its name cannot be computed.
    return value.startsWith('/') ? { kind: 'url', value: canonicalTarget(value) } : undefined;
  }
  const kind = targets.get(letter);
  if (kind === 'all') return { kind, value };
  if (kind === undefined || value === '') return undefined;
  return kind === 'pattern' ? new LatePattern(value) : { kind, value };
}

/** A pattern that is compiled on first use, because a starting instance uses few of those that it reads. */
class LatePattern implements Target {
  readonly kind = 'pattern';
  readonly value: string;
  #compiled: Required<Target>['matches'] | undefined;

  constructor(value: string) {
    this.value = value;
  }

  readonly matches: Required<Target>['matches'] = (entry) => {
    this.#compiled ??= compiled(this.value);
    return this.#compiled(entry);
  };
}

function compiled(pattern: string): Required<Target>['matches'] {
  try {
    return compileSelector({ pattern }).matches;
  } catch {
    return () => true; // a pattern that only a later version accepts
  }
}
