import {
  createHistogram,
  type EventLoopUtilization,
  performance,
  type RecordableHistogram,
} from 'node:perf_hooks';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';

/** How late the event loop was, beyond the requested time. Seconds. */
export interface EventLoopDelay {
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The event loop over the last window. */
export interface EventLoopFigures {
  /** Length of the window. */
  readonly windowSeconds: number;
  /** Share of the window in which the event loop was not idle, from 0 to 1. */
  readonly utilization: number;
  /** `null` where the window has no data: it was too short. All are `Infinity` where the loop was blocked throughout. */
  readonly delay: EventLoopDelay | null;
  /** The loop was blocked so long that not one measurement came. */
  readonly isBlocked: boolean;
}

/** A measurement each so often. Milliseconds. */
const RESOLUTION = 20;

/** An empty window in which the loop was so busy is one in which it was blocked. */
const BUSY = 0.5;

const BLOCKED: EventLoopDelay = Object.freeze({
  mean: Infinity,
  p50: Infinity,
  p99: Infinity,
  max: Infinity,
});

/**
 * Reads a histogram of intervals between two measurements. An interval lasts as long as the resolution and the delay.
 *
 * @param windowMs what it covers.
 * @param utilization of the loop meanwhile.
 */
export function readDelay(
  histogram: Pick<RecordableHistogram, 'count' | 'mean' | 'max' | 'percentile'>,
  windowMs: number,
  utilization: number,
  resolutionMs = RESOLUTION,
): Pick<EventLoopFigures, 'delay' | 'isBlocked'> {
  if (histogram.count === 0) {
    const isBlocked = utilization > BUSY && windowMs > 2 * resolutionMs;
    return { delay: isBlocked ? BLOCKED : null, isBlocked };
  }
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000);
  const delay = {
    mean: seconds(histogram.mean),
    p50: seconds(histogram.percentile(50)),
    p99: seconds(histogram.percentile(99)),
    max: seconds(histogram.max),
  };
  return { delay, isBlocked: false };
}

/** The range of `monitorEventLoopDelay`: up to an hour, in nanoseconds. */
const RANGE = { lowest: 1, highest: 3.6e12, figures: 3 };

/**
 * Watches the delay and the utilisation of the event loop, window by window.
 *
 * `monitorEventLoopDelay` does not fit windows: after `reset()` it loses the first interval, and a block that begins
 * there with it (Node 20 to 26).
 */
export class EventLoopWatch {
  readonly #histogram = createHistogram(RANGE);
  #since = performance.now();
  #utilization: EventLoopUtilization = performance.eventLoopUtilization();
  #measuredAt = this.#since;

  readonly #measure = guarded('event loop', (): void => {
    const now = performance.now();
    const interval = Math.round((now - this.#measuredAt) * 1e6);
    this.#measuredAt = now;
    this.#histogram.record(Math.max(RANGE.lowest, interval));
  });
  readonly #timer = runInOwnContext(() => setInterval(this.#measure, RESOLUTION).unref());

  /** Ends the window and begins the next. */
  rotate(): EventLoopFigures {
    const now = performance.now();
    const utilization = performance.eventLoopUtilization();
    const used = performance.eventLoopUtilization(utilization, this.#utilization).utilization;
    const windowMs = now - this.#since;
    const figures = {
      windowSeconds: windowMs / 1000,
      utilization: used,
      ...readDelay(this.#histogram, windowMs, used),
    };
    this.#since = now;
    this.#utilization = utilization;
    this.#histogram.reset();
    return figures;
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer);
  }
}
