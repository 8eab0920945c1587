import { alertEvents } from '../../events/channels.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { unawaited } from '../../runtime/guard.js';
import { PROCESS_STEP_SECONDS } from '../history/history.js';
import type { CacheUse } from '../requests/cache-use.js';
import { AlertState, judge } from './alert-state.js';
import type { Alert, AlertsSettings } from './options.js';
import {
  type AlertFigures,
  type AlertReading,
  type AlertRule,
  type Breakers,
  createAlertRules,
} from './rules.js';

/** The figures of telemetry at the end of a window. */
export interface WindowFigures extends Omit<AlertFigures, 'cache'> {
  /** Since the start. */
  readonly cacheUse: CacheUse;
}

/** Windows of a minute. */
const WINDOWS = 60 / PROCESS_STEP_SECONDS;

/** A rule with its state. */
interface Watched {
  readonly rule: AlertRule;
  readonly state: AlertState;
  /** Of the last evaluation. */
  reading: AlertReading;
}

const NOT_YET: AlertReading = { value: undefined, message: 'Not evaluated yet.' };

/** The alerts of an instance. */
export class Alerts {
  readonly #watched: readonly Watched[];
  readonly #onAlert: AlertsSettings['onAlert'];
  /** Counts since the start at the end of each window of the last minute, and at its begin. */
  readonly #cacheCounts: AlertFigures['cache'][] = [{ cacheable: 0, served: 0 }];

  /** @param breakers absent without Redis. */
  constructor(settings: AlertsSettings, breakers: (() => Breakers) | undefined) {
    this.#onAlert = settings.onAlert;
    this.#watched = createAlertRules(settings, breakers).map((rule) => ({
      rule,
      state: new AlertState(Math.max(1, Math.ceil(rule.forSeconds / PROCESS_STEP_SECONDS))),
      reading: NOT_YET,
    }));
  }

  /** Every alert, in the order of the config. */
  list(): Alert[] {
    return this.#watched.map(describe);
  }

  /** A window has ended. Never throws. */
  evaluate({ cacheUse, ...others }: WindowFigures): void {
    const figures = { ...others, cache: this.#lastMinuteOf(cacheUse) };
    for (const watched of this.#watched) {
      const { rule, state } = watched;
      try {
        watched.reading = rule.read(figures);
      } catch (error) {
        reportFault(`alerts: ${rule.name}`, error);
        watched.reading = { value: undefined, message: 'The figure could not be read.' };
      }
      const { value, isTooFew } = watched.reading;
      if (state.update(isTooFew ? 'good' : judge(value, rule))) this.#tell(describe(watched));
    }
  }

  #lastMinuteOf({ hits, stale, revalidated, misses }: CacheUse): AlertFigures['cache'] {
    const served = hits + stale;
    const cacheable = served + revalidated + misses;
    this.#cacheCounts.push({ cacheable, served });
    if (this.#cacheCounts.length > WINDOWS + 1) this.#cacheCounts.shift();
    const [before] = this.#cacheCounts as [AlertFigures['cache']];
    return { cacheable: cacheable - before.cacheable, served: served - before.served };
  }

  /** Nothing waits for the app's function, which may take any time. */
  #tell(alert: Alert): void {
    try {
      if (alertEvents.hasSubscribers) alertEvents.publish(alert);
      const result: unknown = this.#onAlert?.(alert);
      if (result !== undefined) void unawaited(result, 'alerts.onAlert');
    } catch (error) {
      reportFault('alerts.onAlert', error);
    }
  }
}

function describe({ rule, state, reading }: Watched): Alert {
  const { name, threshold, unit } = rule;
  const { value = null, message, route } = reading;
  return {
    name,
    state: state.isFiring ? 'firing' : 'ok',
    since: state.since,
    value,
    threshold,
    unit,
    message,
    ...(route !== undefined && { route }),
  };
}
