// One run of the suite, in a process of its own: the suite's client keeps its results in its modules.
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
  /** `'none'`: the proxy alone, to see what the tests say of no cache at all. */
  readonly profile: 'safe' | 'rfc9111' | 'none';
  /** With a rule that all routes may be cached. */
  readonly withRule?: boolean;
  /** With a front door before the app; the rule then says that all is everybody's. */
  readonly frontDoor?: boolean;
  /** Run these tests alone. */
  readonly ids?: readonly string[];
  /** Print what is sent. */
  readonly dump?: boolean;
  /** Print what the origin says. */
  readonly verbose?: boolean;
}

export interface RunReport {
  readonly results: Results;
  /** `Cache-Status` of every answer of a test, in order. */
  readonly statuses: Readonly<Record<string, readonly string[]>>;
  readonly seconds: number;
  /** Answers that the front door has given. */
  readonly atDoor: number;
}

/** Longest that one answer may take: a cache that keeps a request forever must not keep the run. */
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
  // Whoever started the run may be stopped; the origin must not outlive it.
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
  // Express's own additions would be taken for the cache's.
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
    const atDoor = cache?.stats().frontDoor ?? 0;
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

/** The suite runs a hundred tests at once, and then the next: those that let an entry age do so together. */
function waitingFirst(groups: RawGroup[]): RawGroup[] {
  const waits = ({ requests }: RawGroup['tests'][number]) => requests.some((one) => 'pause_after' in one);
  return [waits, (test: RawGroup['tests'][number]) => !waits(test)].flatMap((wanted) =>
    groups.map((group) => ({ ...group, tests: group.tests.filter(wanted) })),
  );
}

/** The suite's own way to fetch, with a limit, and with an eye on what the cache says of itself. */
function observed(statuses: Record<string, string[]>): Fetch {
  const fetch = createRequire(join(suiteDirectory(), 'package.json'))('node-fetch') as Fetch;
  return async (url, init) => {
    const answer = await fetch(url, { timeout: ANSWER_TIMEOUT, ...init } as typeof init);
    // The last: tests that share their headers in the suite each add their own to them.
    const test = init?.headers?.findLast(([name]) => name === 'Test-ID')?.[1];
    if (test !== undefined) (statuses[test] ??= []).push(answer.headers.get('cache-status') ?? '-');
    return answer;
  };
}

/** The suite's origin, on a free port. */
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
