// One run of the suite, in its own process: the client of the suite keeps its results in its modules.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { hotpath } from 'hotpath';
import { type ResponseCache, responseCache, type StandaloneCacheOptions } from 'hotpath/cache';
import { express4, express5, listen } from '../helpers/http.js';
import { proxyTo } from './proxy.js';
import { type RawGroup, type Results, rawGroups, suiteDirectory, suiteModule } from './suite.js';

export interface RunOptions {
  readonly express: '4' | '5';
  /** `'none'`: the proxy alone, to learn the results without a cache. */
  readonly profile: 'safe' | 'rfc9111' | 'none';
  /** Adds a rule that allows caching all routes. */
  readonly withRule?: boolean;
  /** Puts a front door before the app. The rule then declares all responses shared. */
  readonly frontDoor?: boolean;
  /** Runs only these tests. */
  readonly ids?: readonly string[] | undefined;
  /** Prints the requests. */
  readonly dump?: boolean;
  /** Prints the output of the origin. */
  readonly verbose?: boolean;
}

export interface RunReport {
  readonly results: Results;
  /** `Cache-Status` of every response of a test, in order. */
  readonly statuses: Readonly<Record<string, readonly string[]>>;
  readonly seconds: number;
  /** Responses sent by the front door. */
  readonly atDoor: number;
}

/** Time limit for one response, so that a cache that never answers cannot stop the run. */
const ANSWER_TIMEOUT = 15_000;

type Fetch = (
  url: string,
  init?: { headers?: [string, string][] },
) => Promise<{ headers: { get(name: string): string | null } }>;

interface Runner {
  runTests(groups: RawGroup[], fetch: Fetch, browserCache: boolean, base: string): Promise<void>;
  getResults(): Results;
}

if (process.send) {
  let done = false;
  // The origin must not outlive a run that is stopped from outside.
  process.once('SIGTERM', () => process.exit(1));
  process.once('disconnect', () => {
    if (!done) process.exit(1);
  });
  const options = JSON.parse(process.argv[2] as string) as RunOptions;
  const report = await run(options);
  done = true;
  process.send(report, () => process.disconnect());
}

async function run({
  express: major,
  profile,
  withRule,
  frontDoor,
  ids,
  dump,
  verbose,
}: RunOptions): Promise<RunReport> {
  const startedAt = performance.now();
  const origin = await startOrigin(verbose === true || dump === true);
  const app = (major === '4' ? express4 : express5)();
  // Fields that Express adds would count as those of the cache.
  app.disable('x-powered-by');
  let cache: ResponseCache | undefined;
  if (profile !== 'none') {
    const options = profile === 'safe' ? {} : ({ profile, requestDirectives: 'honor' } as const);
    const rule = { ttl: '1h', shared: frontDoor === true } as const;
    const perf = hotpath({
      ...{ timing: false, metrics: false, sizeLimit: false, cacheControl: false, compression: false },
      cache: options,
      routes: withRule ? { '/*path': { cache: rule } } : {},
    });
    const cacheRoutes: StandaloneCacheOptions['routes'] = withRule ? { '/*path': rule } : {};
    cache = frontDoor ? perf.cache : responseCache({ routes: cacheRoutes, ...options });
    app.use(frontDoor ? perf : cache);
    if (frontDoor) perf.attach(app);
  }
  app.use(proxyTo(origin.url));
  const server = await listen(app);
  try {
    const { runTests, getResults } = await suiteModule<Runner>('client/runner.mjs');
    const statuses: Record<string, string[]> = {};
    const groups = waitingFirst(chosen(await rawGroups(), ids, dump === true));
    await runTests(groups, observed(statuses), false, server.url);
    const atDoor = cache?.stats().frontDoor.hits ?? 0;
    return { results: getResults(), statuses, seconds: (performance.now() - startedAt) / 1000, atDoor };
  } finally {
    await server.close();
    await cache?.close();
    await origin.close();
  }
}

function chosen(groups: RawGroup[], ids: readonly string[] | undefined, dump: boolean): RawGroup[] {
  if (ids === undefined) return groups;
  return groups
    .map((group) => ({ ...group, tests: group.tests.filter(({ id }) => ids.includes(id)) }))
    .filter(({ tests }) => tests.length > 0)
    .map((group) => ({ ...group, tests: group.tests.map((test) => ({ ...test, dump })) }));
}

/** The suite runs a hundred tests at once, so that tests with ageing entries wait together. */
function waitingFirst(groups: RawGroup[]): RawGroup[] {
  const waits = ({ requests }: RawGroup['tests'][number]) => requests.some((one) => 'pause_after' in one);
  return [waits, (test: RawGroup['tests'][number]) => !waits(test)].flatMap((wanted) =>
    groups.map((group) => ({ ...group, tests: group.tests.filter(wanted) })),
  );
}

/** The fetch function of the suite, with a time limit, and with a record of `Cache-Status`. */
function observed(statuses: Record<string, string[]>): Fetch {
  const fetch = createRequire(join(suiteDirectory(), 'package.json'))('node-fetch') as Fetch;
  return async (url, init) => {
    const answer = await fetch(url, { timeout: ANSWER_TIMEOUT, ...init } as typeof init);
    // The last one: tests that share a headers object in the suite each add a field to it.
    const test = init?.headers?.findLast(([name]) => name === 'Test-ID')?.[1];
    if (test !== undefined) (statuses[test] ??= []).push(answer.headers.get('cache-status') ?? '-');
    return answer;
  };
}

/** The origin of the suite, on a free port. */
async function startOrigin(verbose: boolean): Promise<{ url: string; close(): Promise<void> }> {
  const scratch = await mkdtemp(join(tmpdir(), 'hotpath-conformance-'));
  const child = spawn(process.execPath, [join(suiteDirectory(), 'server/server.mjs')], {
    cwd: scratch,
    env: { ...process.env, npm_config_protocol: 'http', npm_config_port: '0', npm_config_pidfile: 'pid' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.once('exit', () => child.kill());
  const port = await portOf(child, verbose);
  return {
    url: `http://localhost:${port}`,
    async close() {
      const gone = once(child, 'exit');
      child.kill();
      await gone;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

function portOf(child: ChildProcess, verbose: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the suite's origin ended with ${code}`)));
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const port = /^Listening on .*:(\d+)\/$/.exec(line)?.[1];
      if (port !== undefined) resolve(port);
      else if (verbose) console.log(line);
    });
  });
}
