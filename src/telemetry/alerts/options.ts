import * as v from 'valibot';
import type { AlertEvent } from '../../events/channels.js';
import { leaf, mapOf, section, toggle } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { Validator } from '../../options/validation-result.js';
import {
  readFunction,
  readInteger,
  readName,
  readPartialShare,
  readPositiveDuration,
  readTimerDuration,
  readWaitingPool,
  type WaitingPool,
} from '../../options/validators.js';

/** An alert with its state, as `onAlert` and `perf.telemetry.alerts()` have it. */
export type Alert = AlertEvent;

/** An alert about slow requests. */
export interface SlowRequestsAlertOptions {
  /** A request is slow if its headers took at least this long, within the 12.5 % that histograms round down. Default: `'1s'`. */
  over?: Duration | undefined;
  /** It fires above this share of slow requests in the last minute, between 0 and 1; it clears at 80 % of it. Default: `0.01`. */
  share?: number | undefined;
  /** Fewer requests in the last minute count as none slow. Default: `100`. */
  minRequests?: number | undefined;
  /** How long the share must stay above, to fire, or below, to clear; in steps of five seconds. Default: `'30s'`. */
  for?: Duration | undefined;
}

/** An alert about responses with a status of 500 or above. */
export interface ErrorRateAlertOptions {
  /** It fires above this share of the requests in the last minute, between 0 and 1; it clears at 80 % of it. Default: `0.05`. */
  share?: number | undefined;
  /** Fewer requests in the last minute count as none failed. Default: `50`. */
  minRequests?: number | undefined;
  /** How long the share must stay above, to fire, or below, to clear; in steps of five seconds. Default: `'15s'`. */
  for?: Duration | undefined;
}

/** An alert about the hit ratio of the cache. */
export interface HitRatioAlertOptions {
  /** It fires below this hit ratio of the last minute, between 0 and 1; it clears a quarter above it, at most half way to 1. Default: `0.5`. */
  under?: number | undefined;
  /** Fewer requests that could be cached in the last minute count as hits. Default: `100`. */
  minRequests?: number | undefined;
  /** How long the ratio must stay below, to fire, or above, to clear; in steps of five seconds. Default: `'5m'`. */
  for?: Duration | undefined;
}

/** An alert about the event loop. */
export interface EventLoopAlertOptions {
  /** It fires while the 99th percentile of the delay over five seconds is longer; it clears at 80 % of it. Default: `'100ms'`. */
  over?: Duration | undefined;
  /** How long the delay must stay above, to fire, or below, to clear; in steps of five seconds. Default: `'15s'`. */
  for?: Duration | undefined;
}

/** An alert about the circuit breakers in front of Redis. */
export interface BreakerAlertOptions {
  /** How long a breaker must not be closed, to fire, or both be closed, to clear; in steps of five seconds. Default: `'15s'`. */
  for?: Duration | undefined;
}

/** An alert about queries that wait for a connection. */
export interface PoolWaitingAlertOptions {
  /** Required. A pool of `pg`, or anything with `waitingCount`. */
  pool?: WaitingPool | undefined;
  /** It fires while more queries wait than this; it clears at 80 % of it. Default: `10`. */
  over?: number | undefined;
  /** How long the count must stay above, to fire, or below, to clear; in steps of five seconds. Default: `'15s'`. */
  for?: Duration | undefined;
}

/** An alert about slow queries. */
export interface SlowQueriesAlertOptions {
  /** Required. A pool of `pg` that `monitorPool` watches, which also says what is slow. */
  pool?: WaitingPool | undefined;
  /** It fires while there were more slow queries than this in the last minute; it clears at 80 % of it. Default: `10`. */
  over?: number | undefined;
  /** How long the count must stay above, to fire, or below, to clear; in steps of five seconds. Default: `'15s'`. */
  for?: Duration | undefined;
}

/** An alert about a figure of the app. */
export interface CustomAlert {
  /** Reads the figure, every five seconds; synchronous. `undefined`: it is not known now, so the alert keeps its state. */
  value: () => number | undefined;
  /** It fires above this number. Set this or `under`. */
  over?: number | undefined;
  /** It fires below this number. */
  under?: number | undefined;
  /** How long the figure must stay beyond the limit, to fire, or within it, to clear. Default: `'15s'`. */
  for?: Duration | undefined;
  /** Of the figure, for messages, such as `jobs`. Default: none. */
  unit?: string | undefined;
}

/** Alerts of this instance, evaluated every five seconds from the figures of telemetry. */
export interface AlertsOptions {
  /** Too many slow requests. Default: on. */
  slowRequests?: SlowRequestsAlertOptions | boolean | undefined;
  /** Too many responses with a status of 500 or above. Default: on. */
  errorRate?: ErrorRateAlertOptions | boolean | undefined;
  /** Too few hits of the cache; it has no effect without the cache. Default: off. */
  hitRatio?: HitRatioAlertOptions | boolean | undefined;
  /** The event loop is late. Default: on. */
  eventLoop?: EventLoopAlertOptions | boolean | undefined;
  /** A breaker in front of Redis is not closed; it has no effect without Redis. Default: on. */
  breaker?: BreakerAlertOptions | boolean | undefined;
  /** Queries wait for a connection. Default: off. */
  poolWaiting?: PoolWaitingAlertOptions | false | undefined;
  /** Queries of a monitored pool are slow. Default: off. */
  slowQueries?: SlowQueriesAlertOptions | false | undefined;
  /** Alerts about figures of the app, by name: `{ jobs: { value: () => queue.length, over: 100, for: '1m' } }`. Default: none. */
  custom?: Readonly<Record<string, CustomAlert>> | undefined;
  /** Called when an alert fires and when it clears; an exception or a rejected promise is reported. Default: none. */
  onAlert?: ((alert: Alert) => unknown) | undefined;
}

/** Names that `custom` cannot take. */
const OWN_NAMES: readonly string[] = [
  'slowRequests',
  'errorRate',
  'hitRatio',
  'eventLoop',
  'breaker',
  'poolWaiting',
  'slowQueries',
];

/** Alerts of the app, and characters of a name: each is a series of metrics, and in the snapshot of the instance. */
const MOST_CUSTOM = 50;
const LONGEST_NAME = 60;

const readNumber: Validator<number> = (input) =>
  typeof input === 'number' && Number.isFinite(input) ? { value: input } : { expected: 'a number' };

const readCustomName: Validator<string> = (input) => {
  const reading = readName(input);
  if ('expected' in reading) return reading;
  const isFree = reading.value.length <= LONGEST_NAME && !OWN_NAMES.includes(reading.value);
  return isFree
    ? reading
    : { expected: `a name of at most ${LONGEST_NAME} characters that no alert of hotpath has` };
};

const forAtLeast = (fallback: Duration) => v.optional(leaf(readTimerDuration), fallback);
const least = (fallback: number) => v.optional(leaf(readInteger(1)), fallback);

const poolSchema = section({
  // Without it, the reader says what is expected.
  pool: v.optional(leaf(readWaitingPool), null),
  over: v.optional(leaf(readInteger(0)), 10),
  for: forAtLeast('15s'),
});

const customSchema = section(
  {
    value: v.optional(leaf(readFunction<() => number | undefined>()), null),
    over: v.optional(leaf(readNumber)),
    under: v.optional(leaf(readNumber)),
    for: forAtLeast('15s'),
    unit: v.optional(leaf(readName)),
  },
  ({ over, under }, report) => {
    if ((over === undefined) === (under === undefined)) report('over', 'set either over or under');
  },
);

/** Resolved options of alerts: durations in seconds. */
export type AlertsSettings = v.InferOutput<typeof alertsSchema>;

/** Reads the section. */
export const alertsSchema = section(
  {
    slowRequests: v.optional(
      toggle(
        section({
          over: v.optional(leaf(readPositiveDuration), '1s'),
          share: v.optional(leaf(readPartialShare), 0.01),
          minRequests: least(100),
          for: forAtLeast('30s'),
        }),
      ),
      true,
    ),
    errorRate: v.optional(
      toggle(
        section({
          share: v.optional(leaf(readPartialShare), 0.05),
          minRequests: least(50),
          for: forAtLeast('15s'),
        }),
      ),
      true,
    ),
    hitRatio: v.optional(
      toggle(
        section({
          under: v.optional(leaf(readPartialShare), 0.5),
          minRequests: least(100),
          for: forAtLeast('5m'),
        }),
      ),
      false,
    ),
    eventLoop: v.optional(
      toggle(section({ over: v.optional(leaf(readPositiveDuration), '100ms'), for: forAtLeast('15s') })),
      true,
    ),
    breaker: v.optional(toggle(section({ for: forAtLeast('15s') })), true),
    poolWaiting: v.optional(toggle(poolSchema), false),
    slowQueries: v.optional(toggle(poolSchema), false),
    custom: v.optional(mapOf(readCustomName, customSchema, 'names'), {}),
    onAlert: v.optional(leaf(readFunction<(alert: Alert) => unknown>())),
  },
  ({ custom }, report) => {
    if (custom instanceof Object && Object.keys(custom).length > MOST_CUSTOM)
      report('custom', `has more than ${MOST_CUSTOM} alerts; remove some`);
  },
);
