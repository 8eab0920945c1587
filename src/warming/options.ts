import * as v from 'valibot';
import { readRefreshHeader } from '../cache/options.js';
import { describeSecret, formatValue, isPlainObject } from '../options/format-value.js';
import { leaf, list, mapOf, resolve, type Schema, type SectionCheck, section } from '../options/schema.js';
import type { Duration } from '../options/units.js';
import type { ValidationResult } from '../options/validation-result.js';
import {
  booleanValidator,
  readFunction,
  readInteger,
  readName,
  readPositiveDuration,
  readTimerDuration,
  validateHeaderText,
} from '../options/validators.js';
import { isUrlToWarm, parseOrigin, URL_FORMS } from './targets.js';

/** The argument of a task's function. */
export interface WarmingContext {
  /** Aborted at the time-out and by `stop()`. Pass it on: to queries, to `fetch`. */
  readonly signal: AbortSignal;
  /** Resolves once the event loop is on time; at once if it is. Call it between two pieces of work. */
  pause(): Promise<void>;
}

/** Makes the list of URLs for one run. */
export type WarmingUrlsFunction = (
  context: WarmingContext,
) => readonly string[] | PromiseLike<readonly string[]>;

/** Where the hottest URLs are remembered. */
export interface WarmingTopKeysOptions {
  /** How many URLs are warmed, from 1 to 100. Default: `50`. */
  most?: number | undefined;
  /** The file that remembers them where the cache has no Redis. Default: none. */
  file?: string | undefined;
}

/** A task of `perf.warming.register`, with one of `task`, `urls` and `topKeys`. */
export interface WarmingTaskOptions {
  /** The name in figures, metrics and messages. Unique. */
  name: string;
  /** A function that warms something. It fails if it throws or rejects. */
  task?: ((context: WarmingContext) => unknown) | undefined;
  /**
   * URLs that go through the app's own routes: full URLs, and paths such as `'/api/products'`, which need `origins`. Or a
   * function that returns such a list for each run.
   */
  urls?: readonly string[] | WarmingUrlsFunction | undefined;
  /**
   * Warms the URLs that were served most often, in this process and in the previous one: their number, or where they are
   * remembered. They are kept in the Redis of the cache, else in `file`.
   */
  topKeys?: number | WarmingTopKeysOptions | undefined;
  /** The origins that clients use, such as `'https://shop.example'`: scheme and host are a part of each key. Default: those of `start()`. */
  origins?: readonly string[] | undefined;
  /** Request headers of the URLs, such as `Accept-Language`, besides `cache.refreshHeaders`. Default: none. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Whether `start()` and the check of readiness wait for its first run. Default: `false`. */
  critical?: boolean | undefined;
  /** The time between two runs, plus or minus 10 %; `false`: only at the start. At most one day. Default: `'5m'`. */
  every?: Duration | false | undefined;
  /** The time limit of a run, its retries included. At most one day. Default: `'1m'`. */
  timeout?: Duration | undefined;
  /** How often what failed is tried again within a run, from 0 to 10. Default: `1`. */
  retries?: number | undefined;
  /** How many URLs are requested at once, from 1 to 100. Default: `4`. */
  concurrency?: number | undefined;
}

/** Options of `start`. */
export interface WarmingStartOptions {
  /** The origins of all tasks without `origins` of their own, such as `['https://shop.example']`. Default: none. */
  origins?: readonly string[] | undefined;
  /** The app whose routes are warmed: the result of `express()`. Default: the app of `perf.attach(app)`. */
  app?: WarmableApp | undefined;
}

/** An app made by `express()`, or another listener of requests. */
export type WarmableApp = (...args: never[]) => unknown;

/** Options of `stop`. */
export interface WarmingStopOptions {
  /** How long running tasks may take to end after their `signal` has aborted. At most one day. Default: `'5s'`. */
  deadline?: Duration | undefined;
}

const ONE_KIND = ['task', 'urls', 'topKeys'] as const;

const checkKinds: SectionCheck = (given, report) => {
  const kinds = ONE_KIND.filter((kind) => given[kind] !== undefined);
  const [first, second] = kinds;
  if (first === undefined) report('task', 'a task needs one of `task`, `urls` and `topKeys`');
  else if (second !== undefined) report(second, `conflicts with \`${first}\`; register a task for each`);
  for (const option of ['headers', 'concurrency', 'origins'] as const) {
    const applies = given.urls !== undefined || (option === 'concurrency' && given.topKeys !== undefined);
    if (given[option] !== undefined && first !== undefined && !applies)
      report(option, `has no effect with \`${first}\`; remove it`);
  }
};

const readMostTopKeys = readInteger(1, 100);

const topKeysSection = section({
  most: v.optional(leaf(readMostTopKeys), 50),
  file: v.optional(leaf(readName)),
});

const taskSchema = section(
  {
    // Without it, the reader says what is expected.
    name: v.optional(leaf(readName), ''),
    task: v.optional(leaf(readFunction<NonNullable<WarmingTaskOptions['task']>>())),
    urls: v.optional(urlsSchema()),
    topKeys: v.optional(topKeysSchema()),
    origins: v.optional(originsSchema()),
    headers: v.optional(
      mapOf(readRefreshHeader, leaf(validateHeaderText, describeSecret), 'names of request headers'),
      {},
    ),
    critical: v.optional(leaf(booleanValidator), false),
    every: v.optional(leaf(readEvery), '5m'),
    timeout: v.optional(leaf(readPeriod), '1m'),
    retries: v.optional(leaf(readInteger(0, 10)), 1),
    concurrency: v.optional(leaf(readInteger(1, 100)), 4),
  },
  checkKinds,
);

const startSchema = section({
  origins: v.optional(originsSchema(), []),
  app: v.optional(leaf(readFunction<WarmableApp>())),
});

const stopSchema = section({ deadline: v.optional(leaf(readTimerDuration), '5s') });

/** Resolved options of a task: durations in seconds. */
export type WarmingTaskSettings = v.InferOutput<typeof taskSchema>;

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveTask(options: WarmingTaskOptions): WarmingTaskSettings {
  return resolve(taskSchema, options, pathOfTask((options as Partial<WarmingTaskOptions> | undefined)?.name));
}

export function resolveStart(options: WarmingStartOptions | undefined) {
  return resolve(startSchema, options, 'warming.start');
}

export function resolveStop(options: WarmingStopOptions | undefined) {
  return resolve(stopSchema, options, 'warming.stop');
}

/** How messages name the options of a task. */
export function pathOfTask(name: unknown): string {
  return typeof name === 'string' && name !== '' ? `warming task ${formatValue(name)}` : 'warming task';
}

function urlsSchema(): Schema<readonly string[] | WarmingUrlsFunction> {
  const fixed = list(leaf(readUrlToWarm), 'a list of URLs, or a function that returns one');
  const computed = leaf(readFunction<WarmingUrlsFunction>());
  return v.lazy(
    (input): Schema<readonly string[] | WarmingUrlsFunction> =>
      typeof input === 'function' ? computed : fixed,
  );
}

function topKeysSchema(): Schema<v.InferOutput<typeof topKeysSection>> {
  const number = v.pipe(
    leaf(readMostTopKeys),
    v.transform((most) => ({ most })),
  );
  return v.lazy(
    (input): Schema<v.InferOutput<typeof topKeysSection>> => (isPlainObject(input) ? topKeysSection : number),
  );
}

function originsSchema(): Schema<readonly string[]> {
  return list(leaf(readOrigin), "a list of origins such as 'https://shop.example'");
}

function readUrlToWarm(input: unknown): ValidationResult<string> {
  return isUrlToWarm(input) ? { value: input } : { expected: URL_FORMS };
}

function readOrigin(input: unknown): ValidationResult<string> {
  const origin = parseOrigin(input);
  return origin === undefined
    ? { expected: "scheme and host such as 'https://shop.example', without a path" }
    : { value: origin };
}

function readEvery(input: unknown): ValidationResult<number | false> {
  if (input === false) return { value: false };
  const reading = readPeriod(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
}

function readPeriod(input: unknown): ValidationResult<number> {
  const reading = readTimerDuration(input);
  return 'value' in reading ? readPositiveDuration(input) : reading;
}
