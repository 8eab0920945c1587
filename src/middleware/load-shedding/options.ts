import * as v from 'valibot';
import { leaf, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import {
  readInteger,
  readPositiveDuration,
  readTimerDuration,
  readWaitingPool,
  type WaitingPool,
} from '../../options/validators.js';

/** Options of load shedding. */
export interface LoadSheddingOptions {
  /** Requests are shed while the event loop is late by more than this on average; `false`: whatever its delay. Default: `'200ms'`. */
  eventLoopDelay?: Duration | false | undefined;
  /** A pool of `pg`, or anything with `waitingCount`. Default: none. */
  pool?: WaitingPool | undefined;
  /** Requests are shed while more queries than this wait for a connection of `pool`. Default: `50`. */
  poolWaiting?: number | undefined;
  /** The mean of `Retry-After`; each response has another value, from half of it to half more. Default: `'10s'`. */
  retryAfter?: Duration | undefined;
}

/** The part of a route's policies that concerns load shedding. */
export interface LoadSheddingRoutePolicies {
  readonly loadShedding?: false | undefined;
}

/** Resolved options of load shedding: durations in seconds. */
export type LoadSheddingSettings = v.InferOutput<typeof loadSheddingSchema>;

/** Reads the section. */
export const loadSheddingSchema = section(
  {
    eventLoopDelay: v.optional(leaf(readDelayLimit), '200ms'),
    pool: v.optional(leaf(readWaitingPool)),
    poolWaiting: v.optional(leaf(readInteger(1)), 50),
    retryAfter: v.optional(leaf(readTimerDuration), '10s'),
  },
  ({ pool, poolWaiting, eventLoopDelay }, report) => {
    if (poolWaiting !== undefined && pool === undefined) report('poolWaiting', 'needs pool');
    if (eventLoopDelay === false && pool === undefined)
      report('eventLoopDelay', 'is off, and there is no pool, so nothing would be shed; set one of them');
  },
);

function readDelayLimit(input: unknown): ValidationResult<number | false> {
  if (input === false) return { value: false };
  const reading = readPositiveDuration(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
}
