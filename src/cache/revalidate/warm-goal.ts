import type { StoredResponse } from '../../store/stored-response.js';
import type { Refresh } from './background-refresh.js';

/** The purpose of a warming request: to fill an entry that is missing or expires too early, or to have one served. */
export class WarmGoal {
  /** An entry that stays fresh for this time is left alone. Milliseconds. */
  readonly freshForMs: number;
  /** Set: the request is only served from the middleware of this scope, so that the forms of the body are made. */
  readonly servedIn: string | undefined;
  /** The fill of the entry, if there is one. */
  #refresh: Refresh | undefined;
  /** The entry that was fresh enough. */
  served: StoredResponse | undefined;
  /** The scope of the middleware that served or filled the entry. */
  scope: string | undefined;
  /** Why the request bypassed the cache. */
  bypass: string | undefined;
  hasReadRedis = false;
  waits = 0;

  constructor(freshForMs: number, servedIn?: string) {
    this.freshForMs = freshForMs;
    this.servedIn = servedIn;
  }

  get refresh(): Refresh | undefined {
    return this.#refresh;
  }

  /** A fill begins. A rule beside the handler takes over from the rule by path, whose fill then ends. */
  begin(refresh: Refresh, scope: string): void {
    this.#refresh?.drop();
    this.#refresh = refresh;
    this.scope = scope;
  }

  serve(entry: StoredResponse, scope: string): void {
    this.served = entry;
    this.scope = scope;
  }
}
