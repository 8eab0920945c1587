import { performance } from 'node:perf_hooks';
import { digestOf, isSameDigest, makeSecret } from './secrets.js';

/** How long a cookie permits access. Seconds. */
export const SESSION_SECONDS = 12 * 3600;

/** Unused keys and open sessions that are remembered; the oldest go first. */
const MOST_REMEMBERED = 20;

/** A key or a session: the secret itself is not kept. */
interface Remembered {
  readonly digest: Buffer;
  /** On the clock of `performance.now()`. Milliseconds. */
  readonly until: number;
}

/**
 * Keys that are printed for the developer, and the sessions that they open. A key opens one session, once; the value of
 * a session's cookie is always made here, never taken from a request.
 */
export class KeySessions {
  #keys: Remembered[] = [];
  #sessions: Remembered[] = [];

  /** A key for one link. */
  makeKey(): string {
    const key = makeSecret();
    this.#keys = [{ digest: digestOf(key), until: Number.POSITIVE_INFINITY }, ...this.#keys].slice(
      0,
      MOST_REMEMBERED,
    );
    return key;
  }

  /** Spends a key. @returns the value of the session's cookie; `undefined` if the key is unknown or spent. */
  open(key: string): string | undefined {
    const found = findSecret(this.#keys, key);
    if (!found) return undefined;
    this.#keys = this.#keys.filter((each) => each !== found);
    const token = makeSecret();
    const until = performance.now() + SESSION_SECONDS * 1000;
    this.#sessions = [{ digest: digestOf(token), until }, ...this.#sessions].slice(0, MOST_REMEMBERED);
    return token;
  }

  /** Whether one of the cookies is that of an open session. @param header the request's `Cookie`. */
  isOpen(header: string | undefined, cookieName: string): boolean {
    return cookieValues(header, cookieName).some((token) => findSecret(this.#sessions, token) !== undefined);
  }
}

/** Looks at all secrets, so that the time does not tell how much of one matches. */
function findSecret(remembered: readonly Remembered[], secret: string): Remembered | undefined {
  const digest = digestOf(secret);
  const now = performance.now();
  let found: Remembered | undefined;
  for (const each of remembered) if (isSameDigest(each.digest, digest) && now < each.until) found = each;
  return found;
}

/** All of the name, because a page of a neighbouring domain can add some before the right one. */
function cookieValues(header: string | undefined, name: string): string[] {
  if (header === undefined) return [];
  return header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
}
