import { createHash } from 'node:crypto';
import type { CacheRoutePolicies } from '../cache/options.js';
import type { RequestListener } from '../cache/revalidate/internal-request.js';
import { WarmRequests, type WarmTarget } from '../cache/revalidate/warm-requests.js';
import type { CacheState } from '../cache/state.js';
import { type ConfigProblem, configError, HotpathError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import type { RouteTable } from '../options/route-table.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { sleep } from '../runtime/sleep.js';
import { type CountedUrls, HotKeys } from './hot-keys.js';
import {
  pathOfTask,
  resolveStart,
  resolveStop,
  resolveTask,
  type WarmingContext,
  type WarmingStartOptions,
  type WarmingStopOptions,
  type WarmingTaskOptions,
  type WarmingTaskSettings,
} from './options.js';
import { runLimited } from './run-limited.js';
import { isRelative, isUrlToWarm, pathToWarm, targetsOf, URL_FORMS } from './targets.js';
import {
  JITTER,
  type RunRequest,
  type TaskWork,
  type WarmingResult,
  WarmingTask,
  type WarmingTaskFigures,
} from './task.js';
import { Turns } from './turns.js';
import { UrlWork } from './url-work.js';

/** Tasks that run at once at the start. */
const MOST_AT_ONCE = 4;

/** How often the hottest URLs are written. Milliseconds. */
const SAVE_MS = 60_000;

/** The shortest time between two runs of a task. Milliseconds. */
const SHORTEST_DELAY_MS = 50;

/** A result of `perf.warming.check`, for `health()`. */
export interface WarmingCheckResult {
  readonly status: 'pass' | 'warn' | 'fail';
  readonly reason?: string | undefined;
}

/** Warms the cache, and whatever else a task warms, at the start and periodically. */
export interface Warming {
  /**
   * Registers a task. After `start()`, it runs at once, and then periodically.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem: two kinds of a task, a name that is taken, a path
   * with a `partition` in its rule.
   */
  register(task: WarmingTaskOptions): void;
  /**
   * Starts warming: the critical tasks run at once, then the others; then each runs periodically. Idempotent.
   *
   * @returns the results of the critical tasks, when all have ended. A failed task does not reject.
   * @throws (rejects) HotpathError `HOTPATH_CONFIG_INVALID` if URLs have no origin or no app.
   */
  start(options?: WarmingStartOptions): Promise<WarmingResult[]>;
  /**
   * Stops warming: aborts the `signal` of running tasks, and waits until they have ended, for at most `deadline`. `start()`
   * may follow. Idempotent.
   */
  stop(options?: WarmingStopOptions): Promise<void>;
  /**
   * Runs one task, or all of them, now. Joins a run in progress. Another instance that runs the task is waited for.
   *
   * @throws (rejects) HotpathError `HOTPATH_WARMING_INVALID` for an unknown name, and while warming stops;
   * `HOTPATH_CONFIG_INVALID` if URLs have no origin or no app.
   */
  run(name?: string): Promise<WarmingResult[]>;
  /** Figures of each task in this process, in the order of registration. */
  tasks(): WarmingTaskFigures[];
  /**
   * For `health()`: fails until each critical task has run once since `start()`; warns if the last run of one has
   * failed. Passes without critical tasks.
   */
  readonly check: () => WarmingCheckResult;
}

/** The parts of the package that warming uses. */
export interface WarmingSources {
  /** The cache; absent if it is off. */
  readonly cache?:
    | {
        readonly state: CacheState;
        readonly routes: RouteTable<CacheRoutePolicies>;
        /** The codings of which forms of stored bodies are made. */
        readonly codings: readonly string[];
      }
    | undefined;
  /** The app behind the front door, if there is one. */
  readonly app: () => RequestListener | undefined;
  /** Absent if telemetry is off. */
  readonly counted?: CountedUrls | undefined;
  /** From 0 to 1. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
}

/** The scheduler of all tasks of one instance. */
export class WarmingScheduler implements Warming {
  readonly #sources: WarmingSources;
  readonly #turns: Turns;
  readonly #random: () => number;
  readonly #tasks = new Map<string, WarmingTask>();
  readonly #timers = new Map<WarmingTask, NodeJS.Timeout>();
  /** Critical tasks that have run once since `start`. */
  readonly #settled = new Set<WarmingTask>();
  #hotKeys: HotKeys | undefined;
  #saveTimer: NodeJS.Timeout | undefined;
  #origins: readonly string[] = [];
  #app: RequestListener | undefined;
  #started: Promise<WarmingResult[]> | undefined;
  /** Aborted by `stop`: no further run begins. */
  #session = new AbortController();
  #stopping: Promise<void> | undefined;
  #isClosed = false;

  constructor(sources: WarmingSources) {
    this.#sources = sources;
    this.#turns = new Turns(sources.cache?.state.redis?.warming);
    this.#random = sources.random ?? Math.random;
  }

  register(options: WarmingTaskOptions): void {
    const settings = resolveTask(options);
    const problem = this.#problemOf(settings);
    if (problem) throw configError([{ path: pathOfTask(settings.name), message: problem }]);
    const isStarted = this.#started !== undefined && !this.#session.signal.aborted;
    if (isStarted) this.#requireTargets([settings]);
    const { topKeys } = settings;
    if (topKeys) this.#rememberKeys(topKeys.file);
    const parts = { turns: this.#turns, id: () => this.#idOf(settings), begin: () => this.#workOf(task) };
    const task: WarmingTask = new WarmingTask(settings, parts);
    this.#tasks.set(task.name, task);
    if (isStarted)
      void unawaited(
        runInOwnContext(() => this.#runFirst(task, false)),
        'warming',
      );
  }

  async start(options?: WarmingStartOptions): Promise<WarmingResult[]> {
    if (this.#stopping) await this.#stopping;
    if (this.#isClosed) throw stoppedError();
    if (this.#started) return this.#started;
    const { origins, app } = resolveStart(options);
    const tasks = [...this.#tasks.values()];
    this.#requireTargets(
      tasks.map(({ settings }) => settings),
      origins,
      app as RequestListener | undefined,
    );
    this.#origins = origins;
    this.#app = app as RequestListener | undefined;
    this.#settled.clear();
    this.#session = new AbortController();
    this.#started = runInOwnContext(() => this.#start(tasks, this.#session.signal));
    return this.#started;
  }

  async #start(tasks: readonly WarmingTask[], signal: AbortSignal): Promise<WarmingResult[]> {
    if (this.#hotKeys) this.#saveRegularly(this.#hotKeys);
    const results: WarmingResult[] = [];
    const critical = tasks.filter(({ settings }) => settings.critical);
    await runLimited(critical, MOST_AT_ONCE, signal, async (task) => {
      results.push(await this.#runFirst(task, true));
    });
    const others = tasks.filter(({ settings }) => !settings.critical);
    const rest = runLimited(others, MOST_AT_ONCE, signal, async (task) => {
      await this.#runFirst(task, false);
    });
    void unawaited(rest, 'warming');
    return results;
  }

  async stop(options?: WarmingStopOptions): Promise<void> {
    const { deadline } = resolveStop(options);
    this.#stopping ??= this.#stop(deadline * 1000).finally(() => {
      this.#stopping = undefined;
      this.#started = undefined;
    });
    return this.#stopping;
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#session.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    clearInterval(this.#saveTimer);
    const stopped = Array.from(this.#tasks.values(), (task) => task.stop());
    const saved = this.#started ? this.#hotKeys?.save() : undefined;
    const done = new AbortController();
    const all = Promise.all([...stopped, saved]);
    await Promise.race([
      unawaited(all, 'warming').then(() => done.abort()),
      sleep(deadlineMs, done.signal, true),
    ]);
  }

  /** Stops warming for ever. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.stop();
  }

  async run(name?: string): Promise<WarmingResult[]> {
    if (this.#isClosed || this.#stopping) throw stoppedError();
    const tasks = name === undefined ? [...this.#tasks.values()] : [this.#find(name)];
    this.#requireTargets(tasks.map(({ settings }) => settings));
    const results: WarmingResult[] = [];
    await runInOwnContext(() =>
      runLimited(tasks, MOST_AT_ONCE, undefined, async (task) => {
        results.push(await this.#runAndSchedule(task, { maySkip: false, holds: true }));
      }),
    );
    return results;
  }

  tasks(): WarmingTaskFigures[] {
    return Array.from(this.#tasks.values(), (task) => task.figures());
  }

  readonly check = (): WarmingCheckResult => {
    const critical = [...this.#tasks.values()].filter(({ settings }) => settings.critical);
    const waiting = critical.filter((task) => !this.#settled.has(task)).map(({ name }) => name);
    if (waiting.length > 0) {
      const state = this.#started ? 'not run yet' : 'not run: call warming.start()';
      return { status: 'fail', reason: `critical tasks have ${state}: ${waiting.join(', ')}` };
    }
    const failed = critical.map((task) => task.figures()).find(({ last_error }) => last_error !== null);
    return failed ? { status: 'warn', reason: `${failed.name}: ${failed.last_error}` } : { status: 'pass' };
  };

  #find(name: string): WarmingTask {
    const task = this.#tasks.get(name);
    if (task) return task;
    const known = [...this.#tasks.keys()].map((each) => formatValue(each)).join(', ') || 'none';
    throw new HotpathError(
      'HOTPATH_WARMING_INVALID',
      `warming.run(${formatValue(name)}): there is no task of this name; registered are: ${known}`,
    );
  }

  /** The first run since the start. A run of another instance takes the place of one that is not critical. */
  async #runFirst(task: WarmingTask, holds: boolean): Promise<WarmingResult> {
    const { signal } = this.#session;
    const result = await this.#runAndSchedule(task, { maySkip: !task.settings.critical, holds });
    if (!signal.aborted) this.#settled.add(task);
    return result;
  }

  async #runAndSchedule(task: WarmingTask, request: RunRequest): Promise<WarmingResult> {
    const result = await task.run(request);
    if (this.#started && !this.#session.signal.aborted) this.#schedule(task);
    return result;
  }

  /** Schedules the next run, counted from the last one of any instance. */
  #schedule(task: WarmingTask): void {
    const { every } = task.settings;
    if (every === false) return;
    const period = every * 1000 * (1 + JITTER * (2 * this.#random() - 1));
    const { last_run_elsewhere: elsewhere, last_run: own } = task.figures();
    const sinceElsewhere = elsewhere !== null && elsewhere > (own ?? 0) ? Date.now() - elsewhere : 0;
    clearTimeout(this.#timers.get(task));
    const run = guarded('warming', () =>
      unawaited(this.#runAndSchedule(task, { maySkip: true, holds: false }), 'warming'),
    );
    const delay = Math.max(period - sinceElsewhere, SHORTEST_DELAY_MS);
    this.#timers.set(task, setTimeout(run, delay).unref());
  }

  #saveRegularly(hotKeys: HotKeys): void {
    const save = guarded('warming', () => unawaited(hotKeys.save(), 'warming'));
    this.#saveTimer = setInterval(save, SAVE_MS).unref();
  }

  #rememberKeys(file: string | undefined): void {
    const { cache, counted } = this.#sources;
    if (!cache || !counted) return;
    this.#hotKeys ??= new HotKeys(cache.state, counted, cache.state.redis?.warming, file);
    if (this.#started && !this.#saveTimer) this.#saveRegularly(this.#hotKeys);
  }

  #problemOf({ name, urls, topKeys }: WarmingTaskSettings): string | undefined {
    const { cache, counted } = this.#sources;
    if (this.#tasks.has(name)) return 'this name is taken; each task needs a name of its own';
    if (!urls && !topKeys) return undefined;
    if (!cache) return 'the cache is off, so there is nothing to warm by URL; turn on `cache`, or use `task`';
    if (!topKeys) return Array.isArray(urls) ? findRuleProblem(urls, cache.routes) : undefined;
    if (!counted) return '`topKeys` needs the counts of telemetry; remove `telemetry: false`';
    if (!cache.state.redis && topKeys.file === undefined)
      return "without `cache.redis`, `topKeys` needs a file: { topKeys: { file: './hot-keys.json' } }";
    return this.#hotKeys && this.#hotKeys.file !== topKeys.file
      ? 'another task remembers the hottest URLs in another `file`; name the same one'
      : undefined;
  }

  /** @throws HotpathError `HOTPATH_CONFIG_INVALID` if URLs have no origin or no app. */
  #requireTargets(
    tasks: readonly WarmingTaskSettings[],
    origins = this.#origins,
    app = this.#app ?? this.#sources.app(),
  ): void {
    const problems = tasks.flatMap((task): ConfigProblem[] => {
      const path = pathOfTask(task.name);
      if (task.task) return [];
      if (!app)
        return [{ path, message: 'there is no app; call perf.attach(app) before, or start({ app })' }];
      const relative = Array.isArray(task.urls) ? task.urls.find(isRelative) : undefined;
      const hasOrigin = (task.origins ?? origins).length > 0;
      return relative === undefined || hasOrigin ? [] : [{ path, message: noOrigin(relative) }];
    });
    if (problems.length > 0) throw configError(problems);
  }

  #originsOf(settings: WarmingTaskSettings): readonly string[] {
    return settings.origins ?? this.#origins;
  }

  /** The same on all instances that run the same task, and another one if its URLs differ. */
  #idOf(settings: WarmingTaskSettings): string {
    const { name, urls, headers } = settings;
    const list = Array.isArray(urls) ? urls : [];
    const text = JSON.stringify([name, list, this.#originsOf(settings), headers]);
    return createHash('sha256').update(text).digest('base64url');
  }

  #workOf({ settings, horizonMs: freshForMs }: WarmingTask): TaskWork {
    const { task, topKeys, concurrency } = settings;
    if (task) return { requested: 0, attempt: (context) => task(context) };
    const { cache } = this.#sources;
    const app = this.#app ?? this.#sources.app();
    if (!cache || !app) return { requested: 0, attempt: () => Promise.reject(new Error('there is no app')) };
    const requests = new WarmRequests(cache.state, app, cache.codings);
    const hotKeys = topKeys && this.#hotKeys;
    const list = (context: WarmingContext) =>
      hotKeys ? hotKeys.list(topKeys.most) : this.#listTargets(settings, context);
    return new UrlWork({ requests, concurrency, freshForMs, list, isNamed: !topKeys });
  }

  async #listTargets(settings: WarmingTaskSettings, context: WarmingContext): Promise<WarmTarget[]> {
    const { urls = [], headers } = settings;
    const list: unknown = typeof urls === 'function' ? await urls(context) : urls;
    if (!Array.isArray(list)) throw new Error('`urls` returned no list');
    const origins = this.#originsOf(settings);
    return [...new Set<unknown>(list)].flatMap((url) => {
      if (!isUrlToWarm(url)) throw new Error(`\`urls\` returned ${formatValue(url)}; expected ${URL_FORMS}`);
      if (isRelative(url) && origins.length === 0) throw new Error(noOrigin(url));
      return targetsOf(url, origins, headers);
    });
  }
}

function noOrigin(url: string): string {
  return (
    `${formatValue(url)} has no origin, and scheme and host are a part of its key; write the origin that clients use, ` +
    "such as origins: ['https://shop.example'], in the task or in start()"
  );
}

/** Refuses paths whose rule keeps warming from storing anything. */
function findRuleProblem(
  urls: readonly string[],
  routes: RouteTable<CacheRoutePolicies>,
): string | undefined {
  for (const url of urls) {
    const match = routes.match(pathToWarm(url));
    const rule = match?.policy.cache;
    if (rule === false) return `${formatValue(url)}: the rule of ${match?.pattern} is \`cache: false\``;
    if (rule?.partition) {
      return (
        `${formatValue(url)}: the rule of ${match?.pattern} has a \`partition\`, whose entries only their owners can ` +
        'fill; leave it out'
      );
    }
  }
  return undefined;
}

function stoppedError(): HotpathError {
  return new HotpathError('HOTPATH_WARMING_INVALID', 'warming stops or is closed, so that no run begins');
}
