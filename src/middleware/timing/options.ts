import * as v from 'valibot';
import type { SlowRequestEvent } from '../../events/channels.js';
import { leaf, resolve, section, toggle } from '../../options/schema.js';
import { type Duration, readDuration } from '../../options/units.js';
import { booleanValidator, readFunction, readInteger, readToken } from '../../options/validators.js';

/** The argument of `onSlow` and `onRequest`. */
export type SlowRequest = SlowRequestEvent;

/** Options of request ids. */
export interface RequestIdOptions {
  /** The header in requests and responses. Default: `'X-Request-Id'`. */
  header?: string | undefined;
  /** Whether to keep a well-formed id that the client or a proxy sent. Default: `true`. */
  trustInbound?: boolean | undefined;
}

/** Options of the timing middleware. */
export interface TimingOptions {
  /** The header with the time until the response began, such as `12.345ms`; `false`: none. Default: `'X-Response-Time'`. */
  header?: string | false | undefined;
  /**
   * Whether to send `Server-Timing`. It shows every client how long the app took and whether the response came from the
   * cache. If that is a secret, turn off `header` too. Default: `true`.
   */
  serverTiming?: boolean | undefined;
  /** Request ids; `false`: none. Default: `true`. */
  requestId?: boolean | RequestIdOptions | undefined;
  /** Requests that take at least this long are reported to `onSlow`; `false`: none. Default: `false`. */
  slow?: Duration | false | undefined;
  /** Called with every slow request; an exception or a rejected promise is ignored. Default: one line on the console. */
  onSlow?: ((request: SlowRequest) => void) | undefined;
  /** Called with every request once its response has ended, hits at the front door included, such as for an access log. An exception or a rejected promise is ignored. Default: none. */
  onRequest?: ((request: SlowRequest) => void) | undefined;
  /** Decimals of the milliseconds in the headers, 0 to 3. Default: `3`. */
  digits?: number | undefined;
}

/** The part of a route's policies that concerns timing. */
export interface TimingRoutePolicies {
  readonly timing?: false | undefined;
}

/** Resolved options of the timing middleware: durations in seconds. */
export type TimingSettings = v.InferOutput<typeof timingSchema>;

/** Reads the section. */
export const timingSchema = section({
  header: v.optional(
    leaf<string | false>((input) => (input === false ? { value: false } : readToken(input))),
    'X-Response-Time',
  ),
  serverTiming: v.optional(leaf(booleanValidator), true),
  requestId: v.optional(
    toggle(
      section({
        header: v.optional(leaf(readToken), 'X-Request-Id'),
        trustInbound: v.optional(leaf(booleanValidator), true),
      }),
    ),
    true,
  ),
  slow: v.optional(
    leaf<number | false>((input) => {
      if (input === false) return { value: false };
      const reading = readDuration(input);
      return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
    }),
    false,
  ),
  onSlow: v.optional(leaf(readFunction<(request: SlowRequest) => void>())),
  onRequest: v.optional(leaf(readFunction<(request: SlowRequest) => void>())),
  digits: v.optional(leaf(readInteger(0, 3)), 3),
});

/**
 * Resolves the section's options.
 * @param path the path of the options in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveTiming(input?: TimingOptions, path = 'timing'): TimingSettings {
  return resolve(timingSchema, input, path);
}
