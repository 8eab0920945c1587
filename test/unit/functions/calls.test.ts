import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import {
  currentRun,
  type FunctionOptions,
  type ResponseCache,
  responseCache,
  type StandaloneCacheOptions,
} from 'hotpath/cache';
import { afterEach, describe, expect, it } from 'vitest';
import { gate } from '../../helpers/gate.js';
import { waitFor } from '../../helpers/http.js';

const caches: ResponseCache[] = [];
const faults: string[] = [];
afterEach(async () => {
  faults.length = 0;
  for (const cache of caches.splice(0)) await cache.close();
});

function open(options: StandaloneCacheOptions = {}): ResponseCache {
  const onError = (error: unknown, where: string) =>
    void faults.push(`${where}: ${(error as Error).message}`);
  const cache = responseCache({ onError, ...options });
  caches.push(cache);
  return cache;
}

/** A cached function that counts its runs. */
function counted<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  options: Partial<FunctionOptions<Args>> = {},
  cache = open(),
) {
  let runs = 0;
  const counting = (...args: Args) => {
    runs++;
    return fn(...args);
  };
  const cached = cache.cached(counting, { name: 'f', ttl: '1m', ...options });
  return { cached, cache, runs: () => runs, counts: () => cache.stats().functions.f! };
}

/** A function whose first run has read 'old' and waits; later runs read 'new'. Each adds a tag at its end. */
function heldRun() {
  const opened = gate();
  let value = 'old';
  const made = counted(async () => {
    const read = value;
    if (read === 'old') await opened.opened;
    currentRun().tag('late');
    return read;
  });
  const before = made.cached();
  value = 'new';
  return { ...made, opened, before };
}

describe('hits and misses', () => {
  it('runs a function once for equal arguments, and again for others', async () => {
    const { cached, runs, counts } = counted((query: { page: number; sort?: string }) => ({ ...query }));
    expect(await cached({ page: 1, sort: 'a' })).toEqual({ page: 1, sort: 'a' });
    expect(await cached({ sort: 'a', page: 1 })).toEqual({ page: 1, sort: 'a' });
    expect(await cached({ page: 2 })).toEqual({ page: 2 });
    expect(runs()).toBe(2);
    expect(counts()).toMatchObject({ hits: 1, misses: 2, runs: 2, errors: 0, collapsed: 0 });
  });

  it('keeps results beside responses: in their statistics and their limits', async () => {
    const { cached, cache } = counted(
      (n: number) => 'x'.repeat(n),
      {},
      open({ memory: { maxBytes: 10_000 } }),
    );
    for (let n = 1000; n < 1030; n++) await cached(n);
    const { entries, bytes, evictions } = cache.stats();
    expect(entries).toBeGreaterThan(2);
    expect(bytes).toBeLessThanOrEqual(10_000);
    expect(evictions.bytes).toBe(30 - entries);
    expect(cache.keys().keys).toEqual([]);
  });

  it('accepts functions that throw at once, return at once, or return another thenable', async () => {
    // biome-ignore lint/suspicious/noThenProperty: a thenable
    const thenable = counted(() => ({ then: (resolve: (value: number) => void) => resolve(1) }));
    expect(await thenable.cached()).toBe(1);
    const thrower = counted((): number => {
      throw new RangeError('no');
    });
    await expect(thrower.cached()).rejects.toThrow(RangeError);
    expect(thrower.counts()).toMatchObject({ errors: 1, misses: 1 });
  });

  it('passes a change of the arguments during a run to nobody', async () => {
    const opened = gate();
    const { cached, runs } = counted(async (query: { page: number }) => {
      await opened.opened;
      return query.page;
    });
    const query = { page: 1 };
    const first = cached(query);
    query.page = 2;
    opened.open();
    expect(await first).toBe(1);
    expect(await cached({ page: 1 })).toBe(1);
    expect(runs()).toBe(1);
  });
});

describe('isolation', () => {
  it('gives no caller an object of another', async () => {
    const { cached } = counted(() => ({ list: [{ n: 1 }], at: new Date(5) }));
    const [first, second] = await Promise.all([cached(), cached()]);
    first.list[0]!.n = 2;
    first.at.setTime(0);
    second.list.push({ n: 3 });
    expect(await cached()).toEqual({ list: [{ n: 1 }], at: new Date(5) });
  });

  it('gives no caller the object of the function, which later runs may return too', async () => {
    const { cached } = counted(() => own);
    const own = { list: [1] };
    for (const call of [cached, cached.refresh]) (await call()).list.push(2);
    expect(own).toEqual({ list: [1] });
  });

  it("gives all callers one frozen object with isolate: 'freeze'", async () => {
    const { cached } = counted(() => ({ list: [{ n: 1 }] }), { isolate: 'freeze' });
    const first = await cached();
    expect(await cached()).toBe(first);
    expect(() => first.list.push({ n: 2 })).toThrow(TypeError);
    expect(Object.isFrozen(first.list[0])).toBe(true);
  });

  it("clones results with isolate: 'freeze' that hold a Date, which cannot be frozen", async () => {
    const { cached } = counted(() => ({ at: new Date(5) }), { isolate: 'freeze' });
    (await cached()).at.setTime(0);
    expect(await cached()).toEqual({ at: new Date(5) });
  });

  it("gives all callers the function's object with isolate: 'none'", async () => {
    const result = { n: 1 };
    const { cached } = counted(() => result, { isolate: 'none' });
    expect(await cached()).toBe(result);
    expect(await cached()).toBe(result);
  });

  it('runs in the context of the module, and continues each caller in its own', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const opened = gate();
    const { cached, runs } = counted(async () => {
      seen.push(storage.getStore());
      await opened.opened;
      seen.push(storage.getStore());
      return 1;
    });
    const callers = ['canary a', 'canary b', 'canary c'].map((canary) =>
      storage.run(canary, async () => {
        await cached();
        return storage.getStore();
      }),
    );
    opened.open();
    expect(await Promise.all(callers)).toEqual(['canary a', 'canary b', 'canary c']);
    expect(seen).toEqual([undefined, undefined]);
    expect(runs()).toBe(1);
  });
});

describe('results that cannot be stored', () => {
  class Money {}
  const unstorable = () => ({ rows: [{ price: new Money() }] });

  it('are an error with the path of the value outside production', async () => {
    const { cached, counts } = counted(unstorable);
    await expect(cached()).rejects.toMatchObject({
      code: 'HOTPATH_RESULT_INVALID',
      message: expect.stringContaining('rows[0].price is an instance of Money'),
    });
    expect(counts()).toMatchObject({ runs: 1, misses: 1 });
  });

  it('are returned to each caller uncached with strict: false, with one warning', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    try {
      const { cached, runs } = counted(unstorable, { strict: false });
      const results = await Promise.all([cached(), cached(), cached()]);
      expect(new Set(results.map(({ rows }) => rows[0]?.price)).size).toBe(3);
      expect(runs()).toBe(3);
      await waitFor(() => warnings.length > 0);
      expect(warnings.map(({ message }) => message)).toEqual([
        expect.stringContaining('rows[0].price is an instance of Money'),
      ]);
    } finally {
      process.off('warning', onWarning);
    }
  });

  it('refuses generators when they are registered', () => {
    const register = (fn: () => unknown) => () => open().cached(fn, { name: 'f', ttl: '1m' });
    expect(
      register(function* () {
        yield 1;
      }),
    ).toThrow(/generator/);
    expect(
      register(async function* () {
        yield 1;
      }),
    ).toThrow(/generator/);
  });
});

describe('purges', () => {
  it('purges the result of some arguments, and no other', async () => {
    const { cached, runs } = counted((n: number) => n);
    await cached(1);
    await cached(2);
    expect(await cached.purge(1)).toMatchObject({ acknowledged: true });
    await cached(1);
    await cached(2);
    expect(runs()).toBe(3);
  });

  it('purges by the tags of the option, of the run and of the function', async () => {
    const { cached, cache, runs } = counted(
      (n: number) => {
        currentRun().tag(`run:${n}`);
        return n;
      },
      { tags: (n) => [`product:${n}`] },
    );
    for (const tag of ['product:1', 'run:1', 'function:f']) {
      const before = runs();
      await cached(1);
      await cache.purge({ tag });
      await cached(1);
      expect(runs() - before).toBe(tag === 'product:1' ? 2 : 1);
    }
    await cache.purge({ pattern: '/*path' });
    await cache.purge({ url: '/' });
    const before = runs();
    await cached(1);
    expect(runs()).toBe(before);
    await cache.purge({ all: true });
    await cached(1);
    expect(runs()).toBe(before + 1);
  });

  it('stores no result whose run began before a purge, and makes later calls run again', async () => {
    const { cached, runs, opened, before } = heldRun();
    await cached.purge();
    expect(await cached()).toBe('new');
    opened.open();
    expect(await before).toBe('old');
    expect(await cached()).toBe('new');
    expect(runs()).toBe(2);
  });

  it('does not give a run to calls after a purge of a tag that the run adds later', async () => {
    const { cached, cache, opened, before } = heldRun();
    await cache.purge({ tag: 'late' });
    const after = cached();
    opened.open();
    expect(await before).toBe('old');
    expect(await after).toBe('new');
    expect(await cached()).toBe('new');
  });

  it('keeps a purge that the function makes itself', async () => {
    const { cached, runs } = counted(async (): Promise<number> => {
      await cached.purge();
      return 1;
    });
    await cached();
    await cached();
    expect(runs()).toBe(2);
  });

  it('expires a result, peeks at it and refreshes it', async () => {
    let n = 0;
    const { cached, counts } = counted(() => ++n, { staleWhileRevalidate: '1m' });
    expect(await cached.peek()).toBeUndefined();
    expect(await cached()).toBe(1);
    expect(await cached.peek()).toBe(1);
    expect(await cached.refresh()).toBe(2);
    expect(await cached()).toBe(2);
    await cached.expire();
    expect(await cached.peek()).toBeUndefined();
    expect(await cached()).toBe(2);
    await waitFor(async () => (await cached.peek()) === 3);
    expect(counts()).toMatchObject({ stale: 1, runs: 3 });
  });

  it('counts a result as read at an earlier position of the log', async () => {
    const { cached, cache, runs } = counted((n: number) => n, { tags: ['products'] });
    const position = cache.position();
    await cache.purge({ tag: 'products' });
    const inTransaction = cached.since(position);
    expect(await inTransaction(1)).toBe(1);
    expect(await cached(1)).toBe(1);
    expect(await inTransaction(1)).toBe(1);
    expect(runs()).toBe(2);
    expect(() => cached.since(position + 2)).toThrow(/at most 1/);
  });
});

describe('errors and slow runs', () => {
  it('keeps no error, or for negativeTtl', async () => {
    for (const negativeTtl of [undefined, '1m'] as const) {
      const { cached, runs, counts } = counted(
        () => {
          throw new RangeError('no');
        },
        { negativeTtl },
      );
      const [first, second] = await Promise.allSettled([cached(), cached()]);
      expect((first as PromiseRejectedResult).reason).toBeInstanceOf(RangeError);
      expect((second as PromiseRejectedResult).reason).toBeInstanceOf(RangeError);
      await expect(cached()).rejects.toThrow(RangeError);
      expect(runs()).toBe(negativeTtl ? 1 : 2);
      expect(counts()).toMatchObject({ errors: runs(), collapsed: 1 });
    }
  });

  it('keeps a result that can still be used, and not the error of its refresh', async () => {
    let fails = false;
    const { cached, counts } = counted(
      () => {
        if (fails) throw new Error('down');
        return 'good';
      },
      { negativeTtl: '1m', staleWhileRevalidate: '1m' },
    );
    await cached();
    fails = true;
    await expect(cached.refresh()).rejects.toThrow('down');
    expect(await cached()).toBe('good');
    await cached.expire();
    expect(await cached()).toBe('good');
    await waitFor(() => counts().errors === 2);
    expect(await cached()).toBe('good');
  });

  it('gives the stale result in place of an error, and reports the error', async () => {
    let fails = false;
    const { cached, runs } = counted(
      () => {
        if (fails) throw new Error('down');
        return 'good';
      },
      { staleIfError: '1m', ttl: '20ms' },
    );
    await cached();
    fails = true;
    await delay(30);
    expect(await cached()).toBe('good');
    // Not again within the backoff.
    expect(await cached()).toBe('good');
    expect(runs()).toBe(2);
    expect(faults).toEqual(["function 'f': down"]);
    await cached.purge();
    await expect(cached()).rejects.toThrow('down');
  });

  it('ends a call and aborts the run after timeout', async () => {
    let signal: AbortSignal | undefined;
    const { cached, counts } = counted(
      () => {
        ({ signal } = currentRun());
        return new Promise<never>(() => {});
      },
      { timeout: '20ms' },
    );
    await expect(cached()).rejects.toMatchObject({ code: 'HOTPATH_FUNCTION_TIMEOUT' });
    expect(signal?.aborted).toBe(true);
    await expect(cached()).rejects.toMatchObject({ code: 'HOTPATH_FUNCTION_TIMEOUT' });
    expect(counts()).toMatchObject({ runs: 2, errors: 2 });
  });

  it('counts a run that fails after timeout once, and keeps the result of one that succeeds', async () => {
    for (const isLate of [true, false]) {
      const end = gate();
      const { cached, counts } = counted(
        async () => {
          await end.opened;
          if (isLate) return 'late';
          throw new Error('aborted');
        },
        { timeout: '20ms', negativeTtl: '1m' },
      );
      await expect(cached()).rejects.toMatchObject({ code: 'HOTPATH_FUNCTION_TIMEOUT' });
      end.open();
      await waitFor(() => counts().runSeconds > 0);
      if (isLate) await waitFor(async () => (await cached.peek()) === 'late');
      expect(counts()).toMatchObject({ runs: 1, errors: 1 });
    }
  });

  it('gives the stale result after softTimeout, and stores the result of the run', async () => {
    const opened = gate();
    let n = 0;
    const { cached } = counted(
      async () => {
        if (++n > 1) await opened.opened;
        return n;
      },
      { ttl: '50ms', staleIfError: '1m', softTimeout: '10ms' },
    );
    await cached();
    await delay(60);
    expect(await cached()).toBe(1);
    opened.open();
    await waitFor(async () => (await cached.peek()) === 2);
  });

  it('reports the error of a run that fails after softTimeout', async () => {
    const end = gate();
    let n = 0;
    const { cached } = counted(
      async () => {
        if (++n === 1) return n;
        await end.opened;
        throw new Error('down');
      },
      { ttl: '20ms', staleIfError: '1m', softTimeout: '10ms' },
    );
    await cached();
    await delay(30);
    expect(await Promise.all([cached(), cached()])).toEqual([1, 1]);
    end.open();
    await waitFor(() => faults.length > 0);
    expect(faults).toEqual(["function 'f': down"]);
  });

  it('refreshes in the background: within staleWhileRevalidate, and after a share of the lifetime', async () => {
    for (const options of [
      { ttl: '20ms', staleWhileRevalidate: '1m' },
      { ttl: '1m', eagerRefresh: 0.0001 },
    ] as const) {
      let n = 0;
      const { cached, counts } = counted(() => ++n, options);
      await cached();
      await delay(30);
      expect(await cached()).toBe(1);
      await waitFor(() => n === 2);
      expect(counts()).toMatchObject('eagerRefresh' in options ? { hits: 1 } : { stale: 1 });
    }
  });

  it('gives each caller the result of the function when key, tags or hints fail', async () => {
    const fail = () => {
      throw new Error('mine');
    };
    for (const options of [{ key: fail }, { tags: fail }, { tags: () => [''] }]) {
      const { cached, runs } = counted((n: number) => n, options);
      expect(await cached(1)).toBe(1);
      expect(await cached(1)).toBe(1);
      expect(runs()).toBe(2);
    }
    const { cached, runs } = counted(() => {
      currentRun().tag('').ttl('soon');
      return 1;
    });
    expect([await cached(), await cached(), runs()]).toEqual([1, 1, 2]);
  });

  it('says which arguments cannot be a key', async () => {
    const { cached } = counted((_: unknown) => 1);
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    for (const argument of [
      () => 1,
      cyclic,
      new URL('https://a.example'),
      new Proxy({}, {}),
      { a: Symbol('x') },
    ]) {
      await expect(cached(argument)).rejects.toMatchObject({
        code: 'HOTPATH_ARGUMENTS_INVALID',
        message: expect.stringContaining('set `key`'),
      });
    }
    const lenient = counted((_: unknown) => 1, { strict: false });
    expect([await lenient.cached(cyclic), await lenient.cached(cyclic), lenient.runs()]).toEqual([1, 1, 2]);
  });
});

describe('currentRun', () => {
  it('sets the lifetime or skips the store, and has no effect outside of a run', async () => {
    const cache = open({ lifetimes: { ai: '1h' } });
    const { cached, runs } = counted(
      (hint: string) => {
        const run = currentRun();
        if (hint === 'skip') run.skip();
        else if (hint === 'zero') run.ttl(0);
        else run.ttl('ai');
        return hint;
      },
      { ttl: 'ai' },
      cache,
    );
    for (const hint of ['skip', 'zero', 'ai', 'skip', 'zero', 'ai']) await cached(hint);
    expect(runs()).toBe(5);
    expect(currentRun().tag('x').ttl('1m').skip().signal.aborted).toBe(false);
  });

  it('reports hints after the end of the run', async () => {
    let late = () => {};
    const { cached } = counted(() => {
      const run = currentRun();
      late = () => void run.tag('late');
      return 1;
    });
    await cached();
    late();
    expect(faults).toEqual([expect.stringContaining('after the run has ended')]);
  });
});

describe('recursion', () => {
  it('caches nested calls, with the tags and the lifetime of the inner ones', async () => {
    const cache = open();
    const inner = counted((n: number) => n, { name: 'inner', tags: (n) => [`inner:${n}`] }, cache);
    const outer = counted(
      async (n: number) => (await inner.cached(n)) + (await inner.cached(n + 1)),
      {},
      cache,
    );
    expect(await outer.cached(1)).toBe(3);
    await cache.purge({ tag: 'inner:2' });
    expect(await outer.cached(1)).toBe(3);
    expect([outer.runs(), inner.runs()]).toEqual([2, 3]);
    await inner.cached.purge(1);
    await outer.cached(1);
    expect([outer.runs(), inner.runs()]).toEqual([3, 4]);
  });

  it('ends calls that would wait for themselves', async () => {
    const fibonacci = counted(async (n: number): Promise<number> => {
      return n < 2 ? n : (await fibonacci.cached(n - 1)) + (await fibonacci.cached(n - 2));
    });
    expect(await fibonacci.cached(30)).toBe(832_040);
    expect(fibonacci.runs()).toBe(31);

    let depth = 0;
    const itself = counted(async (): Promise<number> => (++depth < 3 ? itself.cached() : depth));
    expect(await itself.cached()).toBe(3);

    // Each waits for the run of the other.
    const cache = open();
    let turns = 0;
    const one = counted(
      async (): Promise<number> => (++turns > 4 ? 1 : two.cached()),
      { name: 'one' },
      cache,
    );
    const two = counted(
      async (): Promise<number> => (++turns > 4 ? 2 : one.cached()),
      { name: 'two' },
      cache,
    );
    await Promise.all([one.cached(), two.cached()]);
    expect(turns).toBeGreaterThan(4);
  });
});

describe('a cache that is off or closed', () => {
  it('runs the function at each call', async () => {
    const { hotpath } = await import('hotpath');
    const perf = hotpath({ cache: false });
    let runs = 0;
    const cached = perf.cache.cached(async () => ++runs, { name: 'f', ttl: 'ai' });
    expect(await Promise.all([cached(), cached()])).toEqual([1, 2]);
    expect(await cached.purge()).toMatchObject({ acknowledged: true });
    await perf.close();

    const { cached: closed, cache, runs: count } = counted(() => 1);
    await closed();
    await cache.close();
    expect([await closed(), await closed(), count()]).toEqual([1, 1, 3]);
  });

  it('refuses a name that is taken, and says what a missing option accepts', () => {
    const { cache } = counted(() => 1);
    expect(() => cache.cached(() => 2, { name: 'f', ttl: '1m' })).toThrow(/is the name of another function/);
    expect(() => cache.cached(() => 2, { name: 'g', ttl: 'ai' })).toThrow(/cache.lifetimes, which has none/);
    expect(() => cache.cached(() => 2, {} as never)).toThrow(
      /cached.ttl: expected a duration such as.*\n.*cached.name: expected the name of the function/,
    );
  });
});
