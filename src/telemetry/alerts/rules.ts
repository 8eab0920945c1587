import { requireSync } from '../../options/user-function.js';
import { PROCESS_STEP_SECONDS } from '../history/history.js';
import { slowQueriesOf } from '../monitored-pool.js';
import type { RequestCounts } from '../requests/figures.js';
import type { RouteSeries } from '../requests/route-series.js';
import type { ProcessFigures } from '../system/process-sampler.js';
import { type AlertLimits, limitAbove, limitBelow } from './alert-state.js';
import type { AlertsSettings } from './options.js';

/** The figures that alerts are made of, as telemetry has them at the end of a window. */
export interface AlertFigures {
  /** Of all requests of the last minute. */
  readonly requests: RequestCounts;
  /** Every route that was met. */
  readonly routes: readonly RouteSeries[];
  /** Of the last minute: requests that could be cached, and those of them that were served from the cache. */
  readonly cache: { readonly cacheable: number; readonly served: number };
  readonly process: ProcessFigures;
}

/** States of the breakers in front of Redis. */
export type Breakers = Readonly<Record<'reads' | 'writes', string>>;

/** A figure at an evaluation. */
export interface AlertReading {
  /** `undefined`: not known; the alert keeps its state. */
  readonly value: number | undefined;
  /** Too few requests to tell: it counts as good. */
  readonly isTooFew?: boolean;
  readonly message: string;
  readonly route?: string | undefined;
}

/** An alert that is evaluated. */
export interface AlertRule extends AlertLimits {
  readonly name: string;
  readonly unit: string;
  readonly forSeconds: number;
  /** May throw: functions and pools of the app are called. */
  read(figures: AlertFigures): AlertReading;
}

/** The rules of a config, in its order. @param breakers absent without Redis. */
export function createAlertRules(
  settings: AlertsSettings,
  breakers: (() => Breakers) | undefined,
): AlertRule[] {
  const { slowRequests, errorRate, hitRatio, eventLoop, breaker, poolWaiting, slowQueries, custom } =
    settings;
  const rules = [
    slowRequests && ruleOfSlowRequests(slowRequests),
    errorRate && ruleOfErrorRate(errorRate),
    hitRatio && ruleOfHitRatio(hitRatio),
    eventLoop && ruleOfEventLoop(eventLoop),
    breaker && breakers && ruleOfBreaker(breaker, breakers),
    poolWaiting && ruleOfPool(poolWaiting),
    slowQueries && ruleOfSlowQueries(slowQueries),
  ];
  const own = rules.filter((rule) => !!rule);
  return [...own, ...Object.entries(custom).map(([name, each]) => ruleOfCustom(name, each))];
}

type SettingsOf<Name extends keyof AlertsSettings> = Exclude<AlertsSettings[Name], false | undefined>;

function ruleOfSlowRequests(settings: SettingsOf<'slowRequests'>): AlertRule {
  const { over, share, minRequests } = settings;
  const isSlow = (counts: RequestCounts) => counts.toHeaders.countFrom(over * 1000);
  return {
    name: 'slowRequests',
    unit: 'ratio',
    forSeconds: settings.for,
    ...limitAbove(share),
    read: (figures) =>
      shareOfRequests(figures, isSlow, minRequests, share, `took ${inSeconds(over)} or longer`),
  };
}

function ruleOfErrorRate(settings: SettingsOf<'errorRate'>): AlertRule {
  const { share, minRequests } = settings;
  const isError = ({ serverErrors }: RequestCounts) => serverErrors;
  return {
    name: 'errorRate',
    unit: 'ratio',
    forSeconds: settings.for,
    ...limitAbove(share),
    read: (figures) =>
      shareOfRequests(figures, isError, minRequests, share, 'failed with a status from 500 on'),
  };
}

/** @param count requests of a kind. @param verb says of which. */
function shareOfRequests(
  { requests: counts, routes }: AlertFigures,
  count: (counts: RequestCounts) => number,
  minRequests: number,
  limit: number,
  verb: string,
): AlertReading {
  const { requests } = counts;
  if (requests < minRequests) return tooFew(requests, minRequests);
  const value = count(counts) / requests;
  const worst = value > 0 ? worstRoute(routes, count) : undefined;
  const where = worst === undefined ? '' : `, most of them ${worst}`;
  const message = `${percent(value)} of ${requests} requests in the last minute ${verb}${where} (limit ${percent(limit)}).`;
  return { value, message, route: worst };
}

/** The route with the highest count. */
function worstRoute(
  routes: readonly RouteSeries[],
  count: (counts: RequestCounts) => number,
): string | undefined {
  let most = 0;
  let worst: RouteSeries | undefined;
  for (const series of routes) {
    const found = series.counts.sumOfRecent(count);
    if (found <= most) continue;
    most = found;
    worst = series;
  }
  return worst && `${worst.method} ${worst.route}`;
}

function ruleOfHitRatio(settings: SettingsOf<'hitRatio'>): AlertRule {
  const { under, minRequests } = settings;
  return {
    name: 'hitRatio',
    unit: 'ratio',
    forSeconds: settings.for,
    ...limitBelow(under, 1),
    read: ({ cache: { cacheable, served } }) => {
      if (cacheable < minRequests) return tooFew(cacheable, minRequests);
      const value = served / cacheable;
      const message = `The cache served ${percent(value)} of ${cacheable} requests in the last minute that could be cached (limit ${percent(under)}).`;
      return { value, message };
    },
  };
}

function ruleOfEventLoop(settings: SettingsOf<'eventLoop'>): AlertRule {
  const { over } = settings;
  return {
    name: 'eventLoop',
    unit: 'seconds',
    forSeconds: settings.for,
    ...limitAbove(over),
    read: ({ process: { eventLoop } }) => {
      const value = eventLoop.delay?.p99;
      if (value === undefined) return { value, message: 'The window was too short to measure the delay.' };
      const delay = eventLoop.isBlocked
        ? 'blocked throughout the last window'
        : `late by ${inSeconds(value)} at p99`;
      return { value, message: `The event loop is ${delay} (limit ${inSeconds(over)}).` };
    },
  };
}

function ruleOfBreaker(settings: SettingsOf<'breaker'>, breakers: () => Breakers): AlertRule {
  return {
    name: 'breaker',
    unit: 'breakers',
    forSeconds: settings.for,
    ...limitAbove(0),
    read: () => {
      const { reads, writes } = breakers();
      const value = Number(reads !== 'closed') + Number(writes !== 'closed');
      return { value, message: `The breakers in front of Redis: reads ${reads}, writes ${writes}.` };
    },
  };
}

function ruleOfPool({ pool, over, for: forSeconds }: SettingsOf<'poolWaiting'>): AlertRule {
  return {
    name: 'poolWaiting',
    unit: 'queries',
    forSeconds,
    ...limitAbove(over),
    read: () => {
      const value = toNumber(pool.waitingCount);
      return { value, message: `${value} queries wait for a connection (limit ${over}).` };
    },
  };
}

/** Windows of a minute, and its begin. */
const COUNTS_OF_MINUTE = 60 / PROCESS_STEP_SECONDS + 1;

function ruleOfSlowQueries({ pool, over, for: forSeconds }: SettingsOf<'slowQueries'>): AlertRule {
  const counts: number[] = [];
  return {
    name: 'slowQueries',
    unit: 'queries',
    forSeconds,
    ...limitAbove(over),
    read: () => {
      const count = slowQueriesOf(pool);
      if (count === undefined)
        return { value: count, message: 'The pool is not monitored: call monitorPool(pool, { perf }).' };
      counts.push(count);
      if (counts.length > COUNTS_OF_MINUTE) counts.shift();
      const value = count - (counts[0] as number);
      return { value, message: `${value} queries of the last minute were slow (limit ${over}).` };
    },
  };
}

type CustomSettings = AlertsSettings['custom'][string];

function ruleOfCustom(name: string, settings: CustomSettings): AlertRule {
  const { over, under, unit = '' } = settings;
  const limits = over === undefined ? limitBelow(under as number) : limitAbove(over);
  const suffix = unit === '' ? '' : ` ${unit}`;
  return {
    name,
    unit,
    forSeconds: settings.for,
    ...limits,
    read: () => {
      const given = requireSync(settings.value(), `alerts.custom.${name}`);
      if (given === undefined) return { value: given, message: `${name} is not known.` };
      const value = toNumber(given);
      return { value, message: `${name}: ${rounded(value)}${suffix} (limit ${limits.threshold}${suffix}).` };
    },
  };
}

function tooFew(requests: number, minRequests: number): AlertReading {
  return {
    value: undefined,
    isTooFew: true,
    message: `${requests} requests in the last minute are too few to tell; ${minRequests} are enough.`,
  };
}

/** @throws for anything else, which is a mistake of the app. */
function toNumber(value: unknown): number {
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  throw new TypeError('expected a number');
}

const rounded = (value: number) => Number(value.toPrecision(4));
const percent = (share: number) => `${Number((share * 100).toPrecision(3))} %`;
const inSeconds = (seconds: number) =>
  seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${Number(seconds.toPrecision(3))} s`;
