import { randomInt } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { responseCache } from 'hotpath/cache';
import CachePolicy from 'http-cache-semantics';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Compared, type Decision, type Exchange, reviewed } from '../../conformance/disagreements.js';
import { type StoppedClock, stopClock } from '../../helpers/clock.js';
import { express5, type Listening, listen } from '../../helpers/http.js';
import { type Connection, openConnection, type WireResponse } from '../../leaks/clients.js';
import { Random } from '../../leaks/random.js';

const PAIRS = 10_000;
/** Pairs that are sent together, with the same time between first and second requests. */
const PER_GROUP = 200;
const seed = Number(process.env.SEMANTICS_SEED ?? randomInt(2 ** 31));

const DIRECTIVES = [
  'public',
  'private',
  'no-store',
  'no-cache',
  'must-revalidate',
  'proxy-revalidate',
  'must-understand',
  'immutable',
  'no-transform',
  'max-age=0',
  'max-age=10',
  'max-age=60',
  'max-age="60"',
  'max-age=-1',
  'max-age=abc',
  'max-age',
  'max-age=1.5',
  's-maxage=0',
  's-maxage=10',
  's-maxage=60',
  's-maxage=x',
  'stale-while-revalidate=30',
  'stale-if-error=30',
  'private="x-secret"',
  'no-cache="x-secret"',
  'Public',
  'MAX-AGE=60',
  'ext="a, no-store"',
  'community=UCI',
];
const STATUSES = [
  200, 200, 200, 200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 418, 500, 501,
  503, 599,
];

function makeExchange(random: Random, now: number): Exchange {
  const at = (seconds: number) => new Date(Math.floor(now / 1000) * 1000 + seconds * 1000).toUTCString();
  const first: Record<string, string> = {};
  if (random.chance(0.15)) first.authorization = 'Bearer ann';
  if (random.chance(0.1)) first.cookie = 'a=1';
  if (random.chance(0.05)) first['cache-control'] = random.pick(['no-store', 'no-cache', 'max-age=0']);
  if (random.chance(0.5)) first['accept-language'] = random.pick(['de', 'en']);
  const response: Record<string, string> = {};
  if (random.chance(0.85)) {
    const count = 1 + random.below(3);
    response['cache-control'] = Array.from({ length: count }, () => random.pick(DIRECTIVES)).join(
      random.pick([', ', ',', ' ,']),
    );
  }
  if (random.chance(0.2)) response.expires = random.pick([at(30), at(-30), at(0), '0', 'never']);
  if (random.chance(0.8)) response.date = at(random.chance(0.1) ? -20 : 0);
  if (random.chance(0.15)) response.age = random.pick(['0', '5', '20', '100', 'x']);
  if (random.chance(0.3)) response['last-modified'] = random.pick([at(-1000), at(-100_000), at(10), 'x']);
  if (random.chance(0.3)) response.etag = random.pick(['"1"', 'W/"1"']);
  if (random.chance(0.3)) {
    response.vary = random.pick([
      'Accept-Language',
      'accept-language, X-Other',
      '*',
      'Accept-Language, *',
      'a b',
    ]);
  }
  if (random.chance(0.1)) response['set-cookie'] = 'session=1';
  if (random.chance(0.1)) response.pragma = 'no-cache';
  const second = { ...first };
  delete second['cache-control'];
  if (random.chance(0.2)) second['accept-language'] = random.pick(['de', 'en']);
  if (random.chance(0.1)) second.authorization = 'Bearer bob';
  if (random.chance(0.3)) {
    second['cache-control'] = random.pick([
      'no-cache',
      'max-age=0',
      'max-age=15',
      'max-stale',
      'max-stale=20',
      'min-fresh=20',
      'max-age=30, max-stale=40',
    ]);
  } else if (random.chance(0.05)) second.pragma = 'no-cache';
  return {
    method: random.chance(0.04) ? 'HEAD' : 'GET',
    first,
    status: random.pick(STATUSES),
    response,
    second,
    secondMethod: random.chance(0.05) ? 'HEAD' : 'GET',
    later: random.pick(['same', 'same', 'error', 'not-modified'] as const),
  };
}

/** The decisions of http-cache-semantics. */
function theirDecision(exchange: Exchange, now: number, seconds: number): Decision {
  const { method, first, status, response, second, secondMethod, later: nextAnswer } = exchange;
  let time = now;
  class Policy extends CachePolicy {
    now(): number {
      return time;
    }
  }
  const headersOf = (headers: Record<string, string>) => ({ host: 'a.example', ...headers });
  const policy = new Policy(
    { method, url: '/', headers: headersOf(first) },
    { status, headers: { ...response } },
    { shared: true },
  );
  const isStored = policy.storable();
  const inner = policy as unknown as { maxAge(): number };
  const ttl = isStored ? inner.maxAge() - policy.age() : 0;
  time = now + seconds * 1000;
  const request = { method: secondMethod, url: '/', headers: headersOf(second) };
  const { response: reused, revalidation } = (
    policy as unknown as {
      evaluateRequest(request: unknown): {
        response?: unknown;
        revalidation?: { synchronous: boolean; headers: Record<string, string> };
      };
    }
  ).evaluateRequest(request);
  const use = !isStored ? 'forward' : !reused ? 'forward' : revalidation ? 'while-revalidate' : 'hit';
  const conditions =
    use === 'forward' && isStored
      ? [revalidation?.headers['if-none-match'], revalidation?.headers['if-modified-since']]
      : [];
  const usesInPlaceOfError =
    use === 'forward' && nextAnswer === 'error' && isStored && keepsOnError(policy, request);
  return {
    isStored,
    ttl: isStored ? Math.floor(ttl) : undefined,
    use: usesInPlaceOfError ? 'stand-in' : use,
    conditions: conditions.map((value) => value ?? '-').join(' '),
  };
}

function keepsOnError(policy: CachePolicy, request: unknown): boolean {
  const { modified, policy: kept } = policy.revalidatedPolicy(
    request as never,
    { status: 503, headers: {} } as never,
  );
  return !modified && kept === policy;
}

function ourDecision(first: WireResponse, second: WireResponse, conditions: string | undefined): Decision {
  const stored = /\bstored\b/.test(first.headers.get('cache-status') ?? '');
  const ttl = /ttl=(-?\d+)/.exec(first.headers.get('cache-status') ?? '')?.[1];
  const status = second.headers.get('cache-status') ?? '';
  const xCache = second.headers.get('x-cache');
  const isHit = /;\s*hit\b/.test(status);
  const use =
    xCache === 'HIT' ? 'hit' : xCache !== 'STALE' ? 'forward' : isHit ? 'while-revalidate' : 'stand-in';
  return {
    isStored: stored,
    ttl: stored && ttl !== undefined ? Number(ttl) : undefined,
    use,
    conditions: use === 'forward' || use === 'stand-in' ? (conditions ?? '') : '',
  };
}

let clock: StoppedClock;
let listening: Listening;
let connection: Connection;
beforeEach(() => {
  clock = stopClock();
  // The age of a response includes the time since its Date.
  vi.spyOn(Date, 'now').mockReturnValue(Date.now());
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  connection?.close();
  await listening?.close();
});

describe('decisions with the rfc9111 profile', () => {
  it(`match http-cache-semantics or a reviewed disagreement, for ${PAIRS} random exchanges`, async () => {
    console.log(`semantics seed: ${seed}`);
    const random = new Random(seed);
    const exchanges: Exchange[] = [];
    const seen: (string | undefined)[] = [];
    const runs: number[] = [];
    const cache = responseCache({ profile: 'rfc9111', requestDirectives: 'honor', targets: [] });
    const app = express5();
    app.disable('x-powered-by');
    app.use(cache);
    app.use((req: IncomingMessage, res: ServerResponse) => {
      const id = Number(/^\/(\d+)/.exec(req.url ?? '')![1]);
      const { status, response, later } = exchanges[id]!;
      runs[id] = (runs[id] ?? 0) + 1;
      const isLater = runs[id]! > 1;
      if (isLater) {
        const { 'if-none-match': tags, 'if-modified-since': since } = req.headers;
        seen[id] = `${tags ?? '-'} ${since ?? '-'}`;
      }
      for (const [name, value] of Object.entries(response)) res.setHeader(name, value);
      res.sendDate = false;
      if (isLater && later === 'error') {
        for (const name of res.getHeaderNames()) res.removeHeader(name);
        res.statusCode = 503;
        return void res.end('error');
      }
      const isConditional = req.headers['if-none-match'] ?? req.headers['if-modified-since'];
      if (isLater && later === 'not-modified' && isConditional) {
        res.statusCode = 304;
        return void res.end();
      }
      res.statusCode = status;
      res.end(status === 204 ? undefined : 'body');
    });
    listening = await listen(app);
    connection = openConnection({ transport: 'http', port: listening.port, ca: undefined, shown: undefined });
    const wire = (method: 'GET' | 'HEAD', id: number, headers: Record<string, string>) => ({
      method,
      target: `/${id}`,
      headers: [['Host', 'a.example'] as const, ...Object.entries(headers)],
    });
    const send = async (requests: ReturnType<typeof wire>[]) => {
      const responses = await connection.send(requests);
      for (const response of responses) if (response instanceof Error) throw response;
      return responses as WireResponse[];
    };
    const unreviewed: Compared[] = [];
    const counts = new Map<string, number>();
    for (let from = 0; from < PAIRS; from += PER_GROUP) {
      const now = Date.now();
      for (let i = 0; i < PER_GROUP; i++) exchanges.push(makeExchange(random, now));
      const ids = Array.from({ length: PER_GROUP }, (_, i) => from + i);
      const first = await send(ids.map((id) => wire(exchanges[id]!.method, id, exchanges[id]!.first)));
      const seconds = random.pick([1.3, 5.3, 12.3, 25.3, 45.3, 80.3, 200.3]);
      clock.pass(seconds * 1000);
      const second = await send(
        ids.map((id) => wire(exchanges[id]!.secondMethod, id, exchanges[id]!.second)),
      );
      for (const [i, id] of ids.entries()) {
        const exchange = exchanges[id]!;
        const ours = ourDecision(first[i]!, second[i]!, seen[id]);
        const theirs = theirDecision(exchange, now, seconds);
        const compared = { exchange, seconds, ours, theirs };
        if (isSame(ours, theirs)) continue;
        const found = reviewed.find(({ holds }) => holds(compared));
        if (found) counts.set(found.name, (counts.get(found.name) ?? 0) + 1);
        else unreviewed.push(compared);
      }
    }
    await cache.close();
    const texts = unreviewed.slice(0, 20).map((compared) => JSON.stringify(compared));
    expect(texts, `${unreviewed.length} disagreements; again with SEMANTICS_SEED=${seed}`).toEqual([]);
    // Each seed needs most of the list, but not its rarest entries.
    expect(counts.size).toBeGreaterThan(reviewed.length - 4);
  });
});

function isSame(ours: Decision, theirs: Decision): boolean {
  if (ours.isStored !== theirs.isStored || ours.use !== theirs.use) return false;
  if (ours.isStored && Math.abs((ours.ttl ?? 0) - (theirs.ttl ?? 0)) > 1) return false;
  return !ours.isStored || ours.use !== 'forward' || ours.conditions === theirs.conditions;
}
