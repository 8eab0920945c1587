import { performance } from 'node:perf_hooks';
import { maskUrlCredentials } from '../../runtime/mask-url-credentials.js';
import { messageOf } from '../../runtime/report-fault.js';

/** The first word of error replies that are counted separately. */
const replyWords = new Set(
  (
    'OOM READONLY LOADING MISCONF CLUSTERDOWN MASTERDOWN NOREPLICAS NOAUTH WRONGPASS NOPERM BUSY WRONGTYPE ' +
    'NOSCRIPT MOVED ASK TRYAGAIN CROSSSLOT NOPROTO ERR'
  ).split(' '),
);

/** A command had no reply within its deadline. */
export class DeadlineError extends Error {
  constructor(deadline: number) {
    super(`no reply within ${deadline} ms`);
  }
}

/** The label under which an error is counted, such as `oom`, `timeout` or `connection`. */
export function classifyRedisError(error: unknown): string {
  if (error instanceof DeadlineError) return 'timeout';
  const message = messageOf(error);
  const first = /^[A-Z]+/.exec(message)?.[0];
  if (first !== undefined && first !== 'ERR' && replyWords.has(first)) return first.toLowerCase();
  // Before Redis 7, an error inside a script has its word later in the text.
  const inner = /\b(OOM|READONLY|MISCONF|NOREPLICAS|WRONGTYPE|NOPERM)\b/.exec(message)?.[1] ?? first;
  return inner !== undefined && replyWords.has(inner) ? inner.toLowerCase() : 'connection';
}

/**
 * The message of an error, without credentials, for logs. ioredis attaches the command and its arguments to
 * errors. They may contain a password or a client's data, so the error itself is never passed on.
 */
export function cleanMessage(error: unknown): string {
  return maskUrlCredentials(messageOf(error).slice(0, 3000))
    .replace(/,? with args beginning with:.*/s, '')
    .slice(0, 300);
}

/** Called with a failure that did not affect a request. */
export type FaultHook = (error: Error, where: string) => void;

/** A client for a single node can't follow keys to other nodes. */
const CLUSTER_ADVICE =
  'this is a Redis Cluster: pass `client: new Cluster(...)` of ioredis instead of its URL';

const advice: Readonly<Record<string, string>> = {
  noauth: 'Redis asks for a password: set it in the URL or the options',
  wrongpass: 'Redis refuses the user name or the password: correct them in the URL or the options',
  moved: CLUSTER_ADVICE,
  crossslot: CLUSTER_ADVICE,
  noperm:
    "Redis's access rules (ACL) forbid a command or a key that the cache needs: permit those in docs/redis.md",
};

/** Reports failures without secrets. Each kind is reported once per interval, with its count. */
export class FaultReporter {
  readonly #hook: FaultHook;
  readonly #interval: number;
  readonly #now: () => number;
  readonly #told = new Map<string, { at: number; more: number }>();

  /** @param interval milliseconds. */
  constructor(hook: FaultHook, interval = 30_000, now: () => number = () => performance.now()) {
    this.#hook = hook;
    this.#interval = interval;
    this.#now = now;
  }

  tell(error: unknown, where: string): void {
    const word = classifyRedisError(error);
    const kind = `${where} ${word}`;
    const now = this.#now();
    const before = this.#told.get(kind);
    if (before && now - before.at < this.#interval) {
      before.more++;
      return;
    }
    this.#told.set(kind, { at: now, more: 0 });
    const more = before?.more ? ` (and ${before.more} more since the last report)` : '';
    const hint = Object.hasOwn(advice, word) ? `${advice[word]}: ` : '';
    try {
      this.#hook(new Error(`${where}: ${hint}${cleanMessage(error)}${more}`), where);
    } catch {
      // An exception in the hook must not break the caller.
    }
  }
}
