import type { Duration } from './units.js';

/** What the slow-request hook is told. */
export interface SlowRequest {
  readonly method: string;
  /** The template of the route that answered; absent when none did. */
  readonly route?: string;
  /** The path requested, without query: a query may hold secrets. */
  readonly path: string;
  readonly status: number;
  /** From the arrival of the request to the end of the response. */
  readonly seconds: number;
  /** Absent when request ids are off. */
  readonly requestId?: string;
  /** As Express's `trust proxy` setting sees it. */
  readonly clientAddress?: string;
}

/** Options of request ids. */
export interface RequestIdOptions {
  /** The header, inbound and outbound. Default `'X-Request-Id'`. */
  header?: string;
  /** Whether an id that the client or a proxy sent, and that is well-formed, is kept. Default `true`. */
  trustInbound?: boolean;
}

/** Options of the timing middleware. */
export interface TimingOptions {
  /** The header with the time until the response began, such as `12.345ms`; `false`: none. Default `'X-Response-Time'`. */
  header?: string | false;
  /**
   * Whether `Server-Timing` is sent. It tells every visitor how long the app took and whether the answer came
   * from the cache; where that is a secret, turn it off together with `header`. Default `true`.
   */
  serverTiming?: boolean;
  /** Request ids; `true` takes the defaults. Default `true`. */
  requestId?: boolean | RequestIdOptions;
  /** Requests that take at least this long are reported to `onSlow`. Seconds or a duration; `false`: none. Default `false`. */
  slow?: Duration | false;
  /** Told of every slow request; a throw is ignored. Default: none. */
  onSlow?: (request: SlowRequest) => void;
}

/** Resolved options of the timing middleware. */
export interface TimingSettings {
  readonly header: string | false;
  readonly serverTiming: boolean;
  readonly requestId: { readonly header: string; readonly trustInbound: boolean } | false;
  /** Seconds. */
  readonly slow: number | false;
  readonly onSlow?: (request: SlowRequest) => void;
}

export function resolveTiming(_input?: TimingOptions, _path = 'timing'): TimingSettings {
  throw new Error('not built yet');
}
