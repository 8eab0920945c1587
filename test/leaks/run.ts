import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { nextTurn } from '../helpers/event-loop.js';
import { gate } from '../helpers/gate.js';
import { until } from '../helpers/redis.js';
import { AppState, CANARY, type CacheKind, type End, endKeyOf, type RunningApp, startApp } from './app.js';
import type { Surroundings } from './app-config.js';
import { type Connection, openConnection, type WireResponse } from './clients.js';
import type { AppSpec, Client, Plan, RouteSpec } from './spec.js';
import type { Step } from './steps.js';

/** How a response is wrong. */
export type LeakKind =
  /** It holds the canary of another user. */
  | 'canary'
  /** The app would never send it for this request. */
  | 'view'
  | 'owner'
  | 'status'
  /** Its head is from another run than its body. */
  | 'mixed'
  /** It is older than a purge or a write that preceded the request. */
  | 'purged'
  /** It is older than a refresh that found the page gone. */
  | 'ended'
  /** It repeats a header that was valid for one response. */
  | 'replayed'
  /** The app would not have refused a background refresh that reproduces the request of its entry. */
  | 'refused'
  /** No response arrived. */
  | 'unanswered';

export interface Leak {
  readonly kind: LeakKind;
  readonly step: number;
  readonly shape: number;
  readonly expected: string;
  readonly got: string;
}

export interface Outcome {
  readonly leaks: readonly Leak[];
  readonly requests: number;
  readonly hits: number;
  readonly stale: number;
  readonly collapsed: number;
  readonly refreshes: number;
  readonly faults: readonly string[];
}

export interface Options {
  readonly kind?: CacheKind | undefined;
  /** Continues after the first leak. */
  readonly all?: boolean;
  /** Advances the cache's clock. */
  readonly pass: (ms: number) => void;
}

/** The response to a shape without a cache. */
interface Expectation {
  readonly owner: string | undefined;
  readonly status: number;
  readonly view: string | undefined;
}

/** Sends the requests of a plan, and compares each response with that of the same app without a cache. */
export async function runPlan(plan: Plan, surroundings: Surroundings, options: Options): Promise<Outcome> {
  const { app: spec } = plan;
  const twin = await startApp(spec, 'none', surroundings);
  const instances: RunningApp[] = [];
  const state = new AppState();
  try {
    for (let i = 0; i < spec.instances; i++) {
      instances.push(await startApp(spec, options.kind ?? 'hotpath', surroundings, state));
    }
    if (spec.redis && options.kind === undefined) {
      for (const { cache } of instances) {
        await until(() => {
          // On a busy machine the first attempt may fail, and the next one waits for the clock of the plan.
          options.pass(10);
          return cache?.stats().redis?.log.shares === true;
        }, 'Redis is connected');
      }
    }
    const run = new Run(
      plan,
      state,
      instances,
      await expectationsOf(plan, twin, surroundings),
      surroundings,
      options,
    );
    return await run.all();
  } finally {
    await Promise.all([twin, ...instances].map((app) => app.close()));
  }
}

const ANONYMOUS: Client = { user: undefined, isCertified: false };
const nameOf = ({ user, isCertified }: Client) => `${user ?? 'anonymous'}${isCertified ? ', certified' : ''}`;

class Connections {
  readonly #spec: AppSpec;
  readonly #port: number;
  readonly #surroundings: Surroundings;
  readonly #byClient = new Map<string, Connection>();

  constructor(spec: AppSpec, port: number, surroundings: Surroundings) {
    this.#spec = spec;
    this.#port = port;
    this.#surroundings = surroundings;
  }

  of(client: Client): Connection {
    const name = nameOf(client);
    let connection = this.#byClient.get(name);
    if (!connection) {
      const { transport } = this.#spec;
      const { certificates } = this.#surroundings;
      const shown = client.isCertified && client.user ? certificates?.clients[client.user] : undefined;
      connection = openConnection({ transport, port: this.#port, ca: certificates?.ca, shown });
      this.#byClient.set(name, connection);
    }
    return connection;
  }

  close(): void {
    for (const connection of this.#byClient.values()) connection.close();
  }
}

async function expectationsOf(
  { app, shapes }: Plan,
  twin: RunningApp,
  surroundings: Surroundings,
): Promise<Expectation[]> {
  const connections = new Connections(app, twin.port, surroundings);
  try {
    const found: Expectation[] = [];
    for (const { client, wire } of shapes) {
      const [response] = await connections.of(client).send([wire]);
      if (response instanceof Error) throw response;
      const { status, headers } = response!;
      const owner = [...(headers.get('x-owner') ?? '').matchAll(CANARY)][0]?.[1];
      found.push({ owner, status, view: headers.get('x-view') });
    }
    return found;
  } finally {
    connections.close();
  }
}

/** The state when a batch was sent. */
interface Before {
  readonly ended: ReadonlyMap<string, End>;
  readonly ranged: ReadonlySet<string>;
}

class Run {
  readonly #plan: Plan;
  readonly #state: AppState;
  readonly #instances: readonly RunningApp[];
  readonly #expected: readonly Expectation[];
  readonly #surroundings: Surroundings;
  readonly #options: Options;
  readonly #connections: readonly Connections[];
  readonly #leaks: Leak[] = [];
  readonly #tokens = new Set<string>();
  /** For each instance and route, the lowest version that a later response may show. */
  readonly #least: Map<number, number>[];
  /** The same per URL. */
  readonly #leastOf: Map<string, number>[];
  /** For each instance, the URLs whose handler has answered with a range of its own unit. */
  readonly #ranged: Set<string>[];
  #requests = 0;

  constructor(
    plan: Plan,
    state: AppState,
    instances: readonly RunningApp[],
    expected: readonly Expectation[],
    surroundings: Surroundings,
    options: Options,
  ) {
    this.#plan = plan;
    this.#state = state;
    this.#instances = instances;
    this.#expected = expected;
    this.#surroundings = surroundings;
    this.#options = options;
    this.#connections = instances.map(({ port }) => new Connections(plan.app, port, surroundings));
    this.#least = instances.map(() => new Map());
    this.#leastOf = instances.map(() => new Map());
    this.#ranged = instances.map(() => new Set());
  }

  async all(): Promise<Outcome> {
    try {
      for (const [at, step] of this.#plan.steps.entries()) {
        await this.#take(step, at);
        if (this.#leaks.length > 0 && !this.#options.all) break;
        if (this.#leaks.at(-1)?.kind === 'unanswered') break;
      }
    } finally {
      for (const connections of this.#connections) connections.close();
    }
    this.#checkRefusals();
    const stats = this.#instances.flatMap(({ cache }) => cache?.stats() ?? []);
    const sum = (of: (each: (typeof stats)[number]) => number) =>
      stats.reduce((total, each) => total + of(each), 0);
    return {
      leaks: this.#leaks,
      requests: this.#requests,
      hits: sum(({ hits }) => hits),
      stale: this.#stale,
      collapsed: this.#collapsed,
      refreshes: sum(({ refreshes }) => refreshes),
      faults: this.#instances.flatMap(({ faults }) => faults),
    };
  }

  #stale = 0;
  #collapsed = 0;

  /** The cache reports the first refresh of a route that was refused. */
  #checkRefusals(): void {
    const { app: spec, shapes, steps } = this.#plan;
    for (const fault of this.#instances.flatMap(({ faults }) => faults)) {
      const [, number, reason = ''] = REFUSAL.exec(fault) ?? [];
      if (number === undefined) continue;
      const index = Number(number);
      if (mayRefuse(spec, spec.routes[index]!, reason)) continue;
      const shape = shapes.findIndex(({ route }) => route === index);
      this.#leaks.push({
        kind: 'refused',
        step: steps.length - 1,
        shape,
        expected: 'a refresh like the request of its entry',
        got: fault,
      });
    }
  }

  async #take(step: Step, at: number): Promise<void> {
    const { app: spec } = this.#plan;
    const state = this.#state;
    if (step.kind === 'batch') return this.#sendBatch(step, at);
    if (step.kind === 'pass') return this.#options.pass(step.ms);
    if (step.kind === 'settle') return this.#settle();
    if (step.kind === 'race') return this.#race(step, at);
    if (step.kind === 'fail') {
      setMember(state.failing, step.route, step.fails);
      return;
    }
    if (step.kind === 'hide') {
      state.version++;
      setMember(state.gone, step.route, step.isGone);
      return;
    }
    const instance = this.#instances[step.instance]!;
    const { cache } = instance;
    if (step.kind === 'expire') {
      await cache?.expire({ all: true });
      return;
    }
    const route = spec.routes[step.route]!;
    if (step.kind === 'write') {
      const wire = { method: 'POST', target: route.path, headers: [['Host', 'a.example']] } as const;
      await this.#connections[step.instance]!.of(ANONYMOUS).send([wire]);
      this.#leastOf[step.instance]!.set(`a.example ${route.path}`, state.version);
      return;
    }
    state.version++;
    const tag = `tag:${route.path}`;
    if (step.by === 'all') await cache?.purge({ all: true });
    else if (step.by === 'pattern') await cache?.purge({ pattern: `${route.path}{/*rest}` });
    else await cache?.purge({ tag });
    const least = this.#least[step.instance]!;
    if (step.by === 'all') for (const index of spec.routes.keys()) least.set(index, state.version);
    else if (step.by === 'pattern' || route.placement !== 'none') least.set(step.route, state.version);
  }

  async #settle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < 3 && turns < 200; turns++) {
      await nextTurn();
      quiet = this.#state.pending === 0 ? quiet + 1 : 0;
      if (quiet === 0) await delay(1);
    }
  }

  /** A response that begins before the page goes, and ends after that, must not bring it back. */
  async #race({ instance: at, route, shape }: Step & { kind: 'race' }, step: number): Promise<void> {
    const state = this.#state;
    const { wire } = this.#plan.shapes[shape]!;
    const wasGone = state.gone.has(route);
    await this.#instances[at]!.cache?.expire({ all: true });
    const release = gate();
    const reached = gate();
    state.held = { route, released: release.opened, reached: reached.open };
    const slow = new Connections(this.#plan.app, this.#instances[at]!.port, this.#surroundings);
    try {
      const first = slow.of(ANONYMOUS).send([wire]);
      await Promise.race([reached.opened, first]);
      state.version++;
      state.gone.add(route);
      const [end] = await this.#connections[at]!.of(ANONYMOUS).send([wire]);
      const isEnded = end !== undefined && !(end instanceof Error) && end.headers.has('x-gone');
      const host = wire.headers.find(([name]) => name === 'Host')![1];
      if (isEnded) this.#leastOf[at]!.set(`${host} ${wire.target}`, state.version);
      release.open();
      await first;
    } finally {
      state.held = undefined;
      release.open();
      slow.close();
    }
    await this.#sendBatch({ kind: 'batch', instance: at, shapes: [shape], leaver: undefined }, step);
    state.version++;
    setMember(state.gone, route, wasGone);
  }

  async #sendBatch({ instance: at, shapes, leaver }: Step & { kind: 'batch' }, step: number): Promise<void> {
    if (leaver !== undefined) this.#leave(at, leaver);
    const before: Before = {
      ended: new Map(this.#instances[at]!.ended),
      ranged: new Set(this.#ranged[at]),
    };
    const byClient = groupBy(shapes, (shape) => nameOf(this.#plan.shapes[shape]!.client));
    await Promise.all(
      [...byClient.values()].map(async (those) => {
        const { client } = this.#plan.shapes[those[0]!]!;
        const requests = those.map((shape) => this.#plan.shapes[shape]!.wire);
        const responses = await this.#connections[at]!.of(client).send(requests);
        for (const [index, response] of responses.entries()) {
          const shape = those[index]!;
          if (response instanceof Error) this.#leaks.push(unanswered(step, shape, response));
          else this.#check(at, shape, response, step, before);
        }
      }),
    );
    this.#requests += shapes.length;
  }

  /** Sends a request and closes the connection at about the time when the handler responds. */
  #leave(at: number, shape: number): void {
    const { client, wire } = this.#plan.shapes[shape]!;
    const connections = new Connections(this.#plan.app, this.#instances[at]!.port, this.#surroundings);
    void connections.of(client).send([wire]);
    setTimeout(() => connections.close(), 3);
  }

  #check(at: number, index: number, response: WireResponse, step: number, { ended, ranged }: Before): void {
    const shape = this.#plan.shapes[index]!;
    const route = this.#plan.app.routes[shape.route]!;
    const expected = this.#expected[index]!;
    const { status, headers } = response;
    const body = bodyOf(response);
    const xCache = headers.get('x-cache');
    if (xCache === 'STALE') this.#stale++;
    if (headers.get('cache-status')?.includes('collapsed')) this.#collapsed++;
    const report = (kind: LeakKind, wanted: string) => {
      const head = [...headers].map(([name, value]) => `${name}: ${value}`).join('\n');
      this.#leaks.push({
        kind,
        step,
        shape: index,
        expected: wanted,
        got: `${status}\n${head}\n\n${body.slice(0, 300)}`,
      });
    };
    const text = `${[...headers.values()].join('\n')}\n${body}`;
    for (const [, canary] of text.matchAll(CANARY)) {
      if (canary !== expected.owner)
        return report('canary', `only a canary of ${expected.owner ?? 'anonymous'}`);
    }
    const run = headers.get('x-run');
    const bodyRun = /\brun=(\d+);/.exec(body)?.[1];
    if (run !== undefined && bodyRun !== undefined && run !== bodyRun) return report('mixed', `run ${run}`);
    if (route.token && status < 300) {
      for (const token of tokensIn(headers)) {
        if (this.#tokens.has(token)) return report('replayed', 'a new token');
        this.#tokens.add(token);
      }
    }
    if (status >= 500 || status === 304 || headers.has('x-gone')) return;
    // Responses that the app's handlers did not write, such as Express's 404, have no version.
    const version = Number(headers.get('x-version') ?? Number.POSITIVE_INFINITY);
    const host = shape.wire.headers.find(([name]) => name === 'Host')![1];
    const { target } = shape.wire;
    const least = Math.max(
      this.#least[at]!.get(shape.route) ?? 0,
      this.#leastOf[at]!.get(`${host} ${target}`) ?? 0,
    );
    if (version < least) return report('purged', `version ${least} or later`);
    const view = headers.get('x-view');
    // A refused eager refresh does not end a fresh response; and a view has only one key without these inputs.
    const isOneKey = !route.inputs.includes('theme') && !route.inputs.includes('language');
    // After an end, the stored response still stands in for a 5xx.
    const isStandIn = /fwd-status=5\d\d;/.test(headers.get('cache-status') ?? '');
    if (view !== undefined && xCache === 'STALE' && isOneKey && !isStandIn) {
      const end = ended.get(endKeyOf(host, target, view, expected.owner));
      // Only the cache's clock is moved, not that of Redis: what comes from there later seems to be stored after the end.
      const isComparable = !this.#plan.app.redis || end?.at === performance.now();
      if (end && isComparable && version < end.version)
        return report('ended', `version ${end.version} or later`);
    }
    const isPart = status === 206 || expected.status === 206;
    // The page that a client of HTTPS got may be served to others.
    const isRedirected = route.inputs.includes('scheme') && expected.status === 301;
    if (status !== expected.status && !isPart && !isRedirected)
      return report('status', String(expected.status));
    const url = `${host} ${target}`;
    const mayBeWhole = !route.namesUnit && !ranged.has(url);
    if (view !== expected.view && !(mayBeWhole && isWholeFor(expected.view, view))) {
      return report('view', decodeURIComponent(expected.view ?? '-'));
    }
    // With other inputs, one URL has several keys.
    if (isPartial(view) && route.inputs.length === 1 && !route.declaration) this.#ranged[at]!.add(url);
    const owner = headers.get('x-owner');
    if (owner === '-' && expected.owner !== undefined && !mayGetAnonymous(this.#plan.app, route)) {
      report('owner', expected.owner);
    }
  }
}

/** Whether the app itself lets a cache send an identified user the anonymous page. */
function mayGetAnonymous(spec: AppSpec, route: RouteSpec): boolean {
  const { declaration, base, source } = route;
  if (route.ignoresCookies && source === 'session') return true;
  // Nobody could tell when the request met the cache.
  if (declaration === 'late-credential') return true;
  if (declaration === 'forbidden' || declaration === 'set-cookie' || declaration === 'gateway') return true;
  if (declaration === 'partition' || declaration === 'when')
    return spec.identify === 'after' && route.placement === 'map';
  if (declaration === 'credential' || declaration === 'own-credential') {
    return base === 'public' || base === 's-maxage' || spec.profile === 'rfc9111';
  }
  // The external page, which declares itself public.
  return source === undefined && (base === 'public' || base === 's-maxage');
}

const REFUSAL = /refused the background refresh of \/r(\d+)[^(]*\(([^)]*)\)/;

/** Whether the app itself lets a background refresh be another request than the one its entry answers. */
function mayRefuse(spec: AppSpec, route: RouteSpec, reason: string): boolean {
  const { declaration, inputs, byRule } = route;
  if (reason === 'url') return inputs.includes('device');
  if (reason === 'when') return inputs.includes('audience');
  if (reason === 'vary') {
    return (
      declaration === 'gateway' ||
      (declaration === 'vary' && spec.ownCredential) ||
      (inputs.includes('theme') && !byRule.includes('theme'))
    );
  }
  return reason !== 'when-changed' && reason !== 'partition-changed';
}

function unanswered(step: number, shape: number, error: Error): Leak {
  return { kind: 'unanswered', step, shape, expected: 'a response', got: error.message };
}

function isPartial(view: string | undefined): boolean {
  return view !== undefined && JSON.parse(decodeURIComponent(view)).range !== undefined;
}

/** A range request may receive the complete representation (RFC 9110 §14.2). */
function isWholeFor(expected: string | undefined, got: string | undefined): boolean {
  if (expected === undefined || got === undefined) return false;
  const { range: _part, ...whole } = JSON.parse(decodeURIComponent(expected));
  return encodeURIComponent(JSON.stringify(whole)) === got;
}

function bodyOf({ headers, body }: WireResponse): string {
  const plain = headers.get('content-encoding') === 'gzip' && body.length > 0 ? gunzipSync(body) : body;
  return plain.toString('latin1');
}

function tokensIn(headers: ReadonlyMap<string, string>): string[] {
  return [...new Set([...headers.values()].flatMap((value) => value.match(/\btoken-\d+\b/g) ?? []))];
}

function setMember<T>(set: Set<T>, value: T, isIn: boolean): void {
  if (isIn) set.add(value);
  else set.delete(value);
}

function groupBy<T, K>(values: readonly T[], keyOf: (value: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group) group.push(value);
    else groups.set(keyOf(value), [value]);
  }
  return groups;
}
