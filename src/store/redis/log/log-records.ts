import { canonicalTarget } from '../../../http/request-target.js';
import {
  type Cause,
  type RecordKind,
  shortName,
  type Target,
} from '../../invalidation/invalidation-index.js';
import { compileSelector } from '../../invalidation/selector.js';

/** Format of the records that are written. Readers know it, and everything before it. */
const VERSION = 1;

/** A record of the log as it lies in the stream, read. */
export type LogRecord =
  /** Everything before it is void: the server, or what it holds, is another. */
  | { readonly kind: 'epoch'; readonly epoch: string }
  | {
      readonly kind: RecordKind;
      readonly epoch: string;
      readonly target: Target;
      readonly cause: Cause;
      /** The server's clock when it was appended. Milliseconds. */
      readonly at: number;
    }
  /** Of a later version of the package, or damaged: nobody knows what it is about, so it is about everything. */
  | { readonly kind: 'unknown'; readonly epoch: string };

/** What the writer gives of a record; the script puts version and epoch before it, and the time between. */
export interface RecordBody {
  readonly code: string;
  readonly cause: Cause;
  readonly value: string;
}

/**
 * One field of a stream entry: `version epoch code milliseconds value`. The first two words keep their meaning in
 * every version. One string, since what a starting instance pays for 100,000 records is counted in strings.
 *
 * Where a client has caused the record, its time begins with a 0. Versions that don't know this read the same time.
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

/** Earlier versions wrote a URL as it came. To them, `n` is an unknown kind. */
const URL_AS_IT_CAME = 'u';

export function recordBody(
  kind: RecordKind,
  { kind: target, value }: Target,
  cause: Cause = 'app',
): RecordBody {
  const code = `${kind === 'purge' ? 'p' : 'x'}${letters.get(target)}`;
  return { code, cause, value: target === 'tag' || target === 'url' ? shortName(value) : value };
}

/** Code and cause, as they stand before the time. */
export function headOf({ code, cause }: Pick<RecordBody, 'code' | 'cause'>): string {
  return `${code} ${cause === 'client' ? '0' : ''}`;
}

/** The text that the scripts make of a body. */
export function formatRecord(epoch: string, body: RecordBody, at: number): string {
  return `${VERSION} ${epoch} ${headOf(body)}${at} ${body.value}`;
}

/** @returns `undefined` for what is no record of any version: somebody else has written into the stream. */
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
    // A long URL was hashed, so its name can't be computed.
    return value.startsWith('/') ? { kind: 'url', value: canonicalTarget(value) } : undefined;
  }
  const kind = targets.get(letter);
  if (kind === 'all') return { kind, value };
  if (kind === undefined || value === '') return undefined;
  return kind === 'pattern' ? new LatePattern(value) : { kind, value };
}

/** A pattern that is compiled when it is first asked for: of those that a starting instance reads, few are. */
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
    return () => true; // one that only a later version understands
  }
}
