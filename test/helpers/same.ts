import { Agent } from 'node:http';
import type express5 from 'express';
import type { Express, RequestHandler } from 'express';
import type { ResponseCache } from 'hotpath/cache';
import type { Registry } from 'prom-client';
import { expect } from 'vitest';
import { type Ask, ask, type Got } from './client.js';
import { type Listening, listen } from './http.js';
import type { Invariants } from './invariants.js';

/** A mounted hotpath and its caches. */
export interface Mounted {
  readonly caches: readonly ResponseCache[];
  readonly registries: readonly Registry[];
  close(): Promise<void>;
}

/** A memory for each of several apps, by name. */
export function memoriesOf(names: readonly string[]): Record<string, Remembered> {
  return Object.fromEntries(names.map((name) => [name, { answers: new Map() }]));
}

/** Mounts hotpath before the routes of an app, among other middlewares. */
export type Mount = (app: Express, others: readonly RequestHandler[], express: typeof express5) => Mounted;

/** One app, served twice: alone, and with hotpath. */
export interface Pair {
  readonly plain: Listening;
  readonly ours: Listening;
  readonly mounted: Mounted;
  /** Sends both the same request and compares; `ours` has one response for each request to the app with hotpath. */
  expectSame(wanted?: Ask, options?: SameOptions): Promise<{ plain: Got; ours: Got[] }>;
}

export interface SameOptions {
  /** Number of requests to the app with hotpath: the first may be a miss, the next a hit. Default 2. */
  times?: number;
  /** Headers (lower case) that change with each response: only their presence is compared. */
  volatile?: readonly string[];
  /** The body changes with each response. */
  volatileBody?: boolean;
}

/** Responses of an app without hotpath. They do not depend on how hotpath is mounted, so each is requested once. */
export interface Remembered {
  readonly answers: Map<string, Got>;
  traces?: readonly string[];
}

export interface PairOptions {
  mount: Mount;
  /** Responses of the same app without hotpath, with the same other middlewares. */
  remembered?: Remembered;
  /** Other middlewares, created for each of the two apps. */
  others?: () => RequestHandler[];
  /** The routes of the app. */
  routes: (app: Express) => void;
}

/** Fields of one connection, or of the current moment (RFC 9110 §7.6.1, §6.6.1). */
const NOT_END_TO_END = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date']);

/** Fields that hotpath adds to a response without them. */
export const ADDED = new Set([
  'cache-control',
  'vary',
  'x-cache',
  'cache-status',
  'age',
  'x-response-time',
  'server-timing',
  'x-request-id',
]);

/** Fields that the cache knows from a complete body and sends with a hit. */
const KNOWN_OF_STORED = new Set(['etag', 'content-length']);

/** Fields that compression removes or changes, because they describe the plain body. */
const CHANGED_BY_CODING = new Set(['content-length', 'accept-ranges']);

/** Serves both apps. The invariants of the file watch them, and they are closed after the test. */
export async function pairOf(
  check: Invariants,
  express: typeof express5,
  { mount, remembered, others = () => [], routes }: PairOptions,
): Promise<Pair> {
  const plainApp = makeApp(express);
  for (const each of others()) plainApp.use(each);
  routes(plainApp);
  const oursApp = makeApp(express);
  const mounted = mount(oursApp, others(), express);
  routes(oursApp);
  const [plain, ours] = [await listen(plainApp), await listen(oursApp)];
  const agents = [
    new Agent({ keepAlive: true, maxSockets: 1 }),
    new Agent({ keepAlive: true, maxSockets: 1 }),
  ];
  check.watch({
    port: ours.port,
    server: ours.server,
    plain: plain.server,
    remembered,
    caches: mounted.caches,
    registries: mounted.registries,
    async close() {
      for (const agent of agents) agent.destroy();
      await mounted.close();
      await Promise.all([plain.close(), ours.close()]);
    },
  });
  const askPlain = async (wanted: Ask): Promise<Got> => {
    const key = JSON.stringify(wanted);
    const got = remembered?.answers.get(key) ?? (await ask(plain.port, { agent: agents[0], ...wanted }));
    remembered?.answers.set(key, got);
    return got;
  };
  return {
    plain,
    ours,
    mounted,
    async expectSame(wanted = {}, options = {}) {
      const expected = await askPlain(wanted);
      const answers: Got[] = [];
      for (let i = 0; i < (options.times ?? 2); i++) {
        const got = await ask(ours.port, { agent: agents[1], ...wanted });
        check.saw(got, wanted.user);
        expectEqual(got, expected, wanted, options);
        answers.push(got);
      }
      return { plain: expected, ours: answers };
    },
  };
}

function makeApp(express: typeof express5): Express {
  const app = express();
  app.set('env', 'test'); // otherwise Express prints errors
  app.get('/health', (_req, res) => void res.send('ok'));
  return app;
}

/**
 * I-SAME: a client gets the response of the app alone, except for declared additions of hotpath. `expect` costs more
 * than the comparison, so it is called only to report a failure.
 */
export function expectEqual(ours: Got, plain: Got, wanted: Ask = {}, options: SameOptions = {}): void {
  const text = () => ours.body.subarray(0, 300).toString('latin1');
  if (ours.whole !== plain.whole) expect(ours.whole, `I-SAME: whole: ${text()}`).toBe(plain.whole);
  // An aborted response has an arbitrary length, and an encoder holds back bytes.
  if (!plain.whole) return;
  if (plain.status < 500 && !(ours.status < 500)) {
    expect(ours.status, `I-FAILOPEN: ${text()}`).toBeLessThan(500);
  }
  if (ours.status !== plain.status || ours.reason !== plain.reason) {
    expect(essence(ours), `I-SAME: ${text()}`).toEqual(essence(plain));
  }
  // A hit has only the final response: interim responses and trailers belong to the first request.
  if (ours.header('x-cache') !== 'HIT' && around(ours) !== around(plain)) {
    expect(around(ours), 'I-SAME: interim answers and trailers').toBe(around(plain));
  }
  if (!options.volatileBody && !ours.body.equals(plain.body)) {
    expect(ours.body.length, 'I-SAME: length of the body').toBe(plain.body.length);
    expect.fail(`I-SAME: the body: ${text()}`);
  }
  const found = differences(ours, plain, wanted, options);
  if (found.length > 0) expect(found, 'I-SAME: headers').toEqual([]);
}

function essence({ status, reason }: Got): unknown {
  return { status, reason };
}

function around({ interim, trailers }: Got): string {
  return JSON.stringify({ interim, trailers });
}

function differences(ours: Got, plain: Got, wanted: Ask, { volatile = [] }: SameOptions): string[] {
  const codable =
    isNamed(ours.header('vary'), 'accept-encoding') && wanted.headers?.['Accept-Encoding'] !== undefined;
  const isCoded = ours.header('content-encoding') !== plain.header('content-encoding');
  const isHit = ours.header('x-cache') === 'HIT';
  const found: string[] = [];
  const [fields, plainFields] = [fieldsOf(ours), fieldsOf(plain)];
  for (const [name, expected] of plainFields) {
    const actual = fields.get(name) ?? [];
    if (volatile.includes(name)) {
      if (actual.length !== expected.length)
        found.push(`${name}: ${actual.length} for ${expected.length} lines`);
    } else if (name === 'vary') {
      const missing = expected
        .join(',')
        .split(',')
        .filter((each) => !isNamed(actual.join(','), each));
      if (missing.length > 0) found.push(`vary lacks ${missing}`);
    } else if (name === 'etag' && (codable || ours.status === 304)) {
      if (plainTag(actual.join()) !== plainTag(expected.join())) {
        found.push(`etag: ${actual} for ${expected}`);
      }
    } else if (isHit && name === 'trailer') {
      // A stored response has no such field (RFC 9111 §3.1).
    } else if (CHANGED_BY_CODING.has(name) && codable && (actual.length === 0 || isCoded)) {
      // These describe the plain body, which is not sent.
    } else if (JSON.stringify(actual) !== JSON.stringify(expected)) {
      found.push(`${name}: ${JSON.stringify(actual)} for ${JSON.stringify(expected)}`);
    }
  }
  for (const [name, values] of fields) {
    if (plainFields.has(name) || ADDED.has(name) || volatile.includes(name)) continue;
    if (name === 'content-encoding' && codable) continue;
    if (isHit && KNOWN_OF_STORED.has(name)) continue;
    found.push(`${name}: ${values} was added`);
  }
  return found;
}

/** An entity tag of the app: compression makes it weak and appends its coding. */
function plainTag(tag: string): string {
  return tag.replace(/^W\//, '').replace(/--(?:w-)?(?:br|gzip|deflate|zstd)"$/, '"');
}

/** The end-to-end header lines, by lower-case name. */
function fieldsOf({ headers }: Got): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const [key, value] of headers) {
    const name = key.toLowerCase();
    if (NOT_END_TO_END.has(name)) continue;
    const values = fields.get(name);
    if (values) values.push(value);
    else fields.set(name, [value]);
  }
  return fields;
}

function isNamed(list: string | undefined, name: string): boolean {
  const names = (list ?? '').split(',').map((each) => each.trim().toLowerCase());
  return names.includes(name.trim().toLowerCase());
}
