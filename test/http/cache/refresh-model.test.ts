import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors, waitFor } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

/** The responses of the handler. */
const ANSWERS = [200, 301, 302, 404, 410, 451, 418, 500, 503, 'private', 'no-store', 'set-cookie'] as const;
/** The responses of a gate before the handler to background refreshes; `page`: 200 with another page. */
const GATES = ['open', 302, 401, 403, 407, 429, 503, 'page'] as const;
/** The responses of a gate to a client's own request. */
const CLIENTS = ['good', 400, 401, 403, 429, 431] as const;

type Answer = (typeof ANSWERS)[number];
type Gate = (typeof GATES)[number];
type Client = (typeof CLIENTS)[number];

const TTL = 10;

/** Seconds. */
interface Windows {
  readonly staleWhileRevalidate: number;
  readonly staleIfError: number;
}

interface Mark {
  readonly isRefused: boolean;
  readonly until: number;
  readonly pause: number;
}

/** The response that a client sees, and the number of handler runs for it and for a refresh. */
interface Seen {
  readonly status: number;
  /** The run that made the response; 0 for a response of no run. */
  readonly run: number;
  readonly xCache: string | null;
  readonly runs: number;
}

/** The table in docs/caching.md ("When stale serving ends"), for one URL and consecutive clients. */
class Model {
  now = 0;
  answer: Answer = 200;
  gate: Gate = 'open';
  #runs = 0;
  #stored: { status: number; run: number; at: number } | undefined;
  #mark: Mark | undefined;
  #endedAt = Number.NEGATIVE_INFINITY;
  readonly #windows: Windows;
  readonly #keepsStale: boolean;

  constructor(windows: Windows, keepsStale: boolean) {
    this.#windows = windows;
    this.#keepsStale = keepsStale;
  }

  get(client: Client): Seen {
    const before = this.#runs;
    const seen = this.#get(client);
    return { ...seen, runs: this.#runs - before };
  }

  #get(client: Client): Omit<Seen, 'runs'> {
    const stored = this.#stored;
    if (!stored) return this.#foreground(client);
    const late = this.now - stored.at - TTL;
    const asStored = { status: stored.status, run: stored.run };
    if (late < 0) return { ...asStored, xCache: 'HIT' };
    const { staleWhileRevalidate, staleIfError } = this.#windows;
    if (late >= Math.max(staleWhileRevalidate, staleIfError)) return this.#foreground(client);
    const stale = { ...asStored, xCache: 'STALE' };
    if (stored.at < this.#endedAt) return this.#foreground(client);
    if (this.#mark && this.now < this.#mark.until) {
      return this.#mark.isRefused ? this.#foreground(client) : stale;
    }
    const result = this.#refresh();
    if (late < staleWhileRevalidate || result === 'failed') return stale;
    if (result === 'stored') return { status: 200, run: this.#stored!.run, xCache: 'MISS' };
    return this.#foreground(client);
  }

  #refresh(): 'stored' | 'failed' | 'refused' {
    const { gate } = this;
    if (gate !== 'open') {
      const sheds = gate === 401 || gate === 403 || gate === 429;
      return this.#mark_(gate === 503 || (sheds && this.#keepsStale) ? 'failed' : 'refused');
    }
    const run = ++this.#runs;
    if (this.answer === 500 || this.answer === 503) return this.#mark_('failed');
    if (this.answer !== 200) return this.#mark_('refused');
    this.#stored = { status: 200, run, at: this.now };
    this.#mark = undefined;
    this.#endedAt = Number.NEGATIVE_INFINITY;
    return 'stored';
  }

  #mark_(result: 'failed' | 'refused'): typeof result {
    const isRefused = result === 'refused';
    const first = isRefused ? 120 : 1;
    const longest = isRefused ? 3600 : 30;
    const pause = this.#mark?.isRefused === isRefused ? Math.min(this.#mark.pause * 2, longest) : first;
    this.#mark = { isRefused, pause, until: this.now + pause };
    if (isRefused) this.#endedAt = this.now;
    return result;
  }

  #foreground(client: Client): Omit<Seen, 'runs'> {
    if (client !== 'good') return { status: client, run: 0, xCache: 'MISS' };
    const run = ++this.#runs;
    const { answer } = this;
    if (answer === 200 || answer === 301) {
      this.#stored = { status: answer, run, at: this.now };
      if (this.#mark && !this.#mark.isRefused) {
        this.#mark = Number.isFinite(this.#endedAt) ? { isRefused: false, pause: 0.5, until: 0 } : undefined;
      }
      return { status: answer, run, xCache: 'MISS' };
    }
    if (answer === 500 || answer === 503) {
      const late = this.#stored && this.now - this.#stored.at - TTL;
      const { staleWhileRevalidate, staleIfError } = this.#windows;
      const standsIn = late !== undefined && late < Math.max(staleWhileRevalidate, staleIfError);
      if (standsIn) return { status: this.#stored!.status, run: this.#stored!.run, xCache: 'STALE' };
      return { status: answer, run, xCache: 'MISS' };
    }
    if ([302, 404, 410, 'private', 'no-store'].includes(answer)) this.#stored = undefined;
    return { status: typeof answer === 'number' ? answer : 200, run, xCache: 'MISS' };
  }
}

interface World {
  answer: Answer;
  gate: Gate;
  client: Client;
}

describe.each(majors)('stale serving (%s)', (_, express) => {
  function appWith(world: World, windows: Windows, keepsStale: boolean): Promise<CacheApp> {
    return cacheApp({
      express,
      cache: {
        refreshRefused: keepsStale ? 'stale' : 'foreground',
        routes: { '/x': { ttl: TTL, ...windows } },
      },
      routes: (app, { count }) => {
        app.use((req, res, next) => {
          const isRefresh = (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;
          if (isRefresh && world.gate === 'page') res.send('run 0: prove that you are human');
          else if (isRefresh && world.gate !== 'open')
            res.status(Number(world.gate)).send('run 0: not for you');
          else if (!isRefresh && world.client !== 'good') res.status(world.client).send('run 0: refused');
          else next();
        });
        app.get('/x', (_req, res) => {
          const run = count();
          const { answer } = world;
          if (typeof answer === 'number') res.status(answer);
          else if (answer === 'set-cookie') res.cookie('sid', String(run));
          else res.set('Cache-Control', answer);
          res.send(`run ${run}`);
        });
      },
    });
  }

  // Most of the time things stay as they are: what a mark does shows only over several requests.
  const mostly = <T>(usual: T, all: readonly T[]) =>
    fc.oneof({ weight: 2, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...all) });
  const step = fc.record({
    pass: fc.constantFrom(0.5, 3, 11, 11, 30, 125, 125, 400, 4000),
    answer: mostly<Answer>(200, ANSWERS),
    gate: mostly<Gate>('open', GATES),
    get: mostly<Client>('good', CLIENTS),
  });
  // Whether a response has removed the stored one shows only in an error that follows while the key is marked.
  const removal = fc
    .constantFrom(...ANSWERS)
    .map((answer) => [
      { pass: 11, answer: 200, gate: 403, get: 'good' } as const,
      { pass: 11, answer, gate: 403, get: 'good' } as const,
      { pass: 0.5, answer: 500, gate: 'open', get: 'good' } as const,
    ]);
  const steps = fc
    .array(
      fc.oneof({ weight: 4, arbitrary: step.map((each) => [each]) }, { weight: 1, arbitrary: removal }),
      { minLength: 5, maxLength: 25 },
    )
    .map((parts) => parts.flat());
  const windows = fc.record({
    staleWhileRevalidate: fc.constantFrom(0, 60, 1e6, 1e6),
    staleIfError: fc.constantFrom(0, 200, 1e6, 1e6),
  });

  it('follows the table in docs/caching.md for any responses, gates and clients [H11, H12]', async () => {
    await fc.assert(
      fc.asyncProperty(windows, fc.boolean(), steps, async (given, keepsStale, sequence) => {
        const clock = stopClock();
        const world: World = { answer: 200, gate: 'open', client: 'good' };
        const model = new Model(given, keepsStale);
        const made = await appWith(world, given, keepsStale);
        try {
          for (const each of sequence) {
            clock.pass(each.pass * 1000);
            model.now += each.pass;
            world.answer = model.answer = each.answer;
            world.gate = model.gate = each.gate;
            world.client = each.get;
            const before = made.runs();
            const got = await made.get('/x');
            await waitFor(() => made.cache.stats().pending === 0);
            const seen: Seen = {
              status: got.status,
              run: Number(/^run (\d+)/.exec(got.text)?.[1]),
              xCache: got.xCache,
              runs: made.runs() - before,
            };
            expect(seen).toEqual(model.get(each.get));
          }
        } finally {
          await made.cache.close();
          vi.restoreAllMocks();
        }
      }),
      { numRuns: Number(process.env.REFRESH_RUNS ?? 60) },
    );
  });
});
