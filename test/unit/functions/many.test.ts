import { setTimeout as delay } from 'node:timers/promises';
import { currentRun, type ResponseCache, responseCache } from 'hotpath/cache';
import { afterEach, describe, expect, it } from 'vitest';
import { waitFor } from '../../helpers/http.js';

const caches: ResponseCache[] = [];
afterEach(async () => {
  for (const cache of caches.splice(0)) await cache.close();
});

function open(): ResponseCache {
  const cache = responseCache({ lifetimes: { short: '1m' } });
  caches.push(cache);
  return cache;
}

describe('cached.many', () => {
  it('loads the missing ids only, in one run', async () => {
    const cache = open();
    const batches: number[][] = [];
    const load = async (ids: readonly number[]) => {
      batches.push([...ids]);
      return ids.map((id) => ({ id }));
    };
    const products = cache.cached.many(load, {
      name: 'products',
      ttl: 'short',
      tags: (id) => [`product:${id}`],
    });
    expect(await products([1, 2])).toEqual([{ id: 1 }, { id: 2 }]);
    expect(await Promise.all([products([3, 2, 1]), products([3, 4, 4])])).toEqual([
      [{ id: 3 }, { id: 2 }, { id: 1 }],
      [{ id: 3 }, { id: 4 }, { id: 4 }],
    ]);
    await cache.purge({ tag: 'product:1' });
    await products.purge(2);
    expect(await products.peek(2)).toBeUndefined();
    await products([1, 2, 3]);
    expect(batches).toEqual([
      [1, 2],
      [3, 4],
      [1, 2],
    ]);
    expect(cache.stats().functions.products).toMatchObject({ runs: 3, misses: 6, errors: 0 });
    expect(await products([])).toEqual([]);
  });

  it('accepts a Map, keeps missing values, and gives the hints of a run to all of its values', async () => {
    const cache = open();
    let runs = 0;
    const load = (ids: readonly string[]) => {
      runs++;
      currentRun().tag('all');
      return new Map(ids.filter((id) => id !== 'gone').map((id) => [id, id.toUpperCase()]));
    };
    const names = cache.cached.many(load, { name: 'names', ttl: 'short' });
    expect(await names(['a', 'gone'])).toEqual(['A', undefined]);
    expect(await names(['gone', 'a'])).toEqual([undefined, 'A']);
    expect(runs).toBe(1);
    await cache.purge({ tag: 'all' });
    await names(['a', 'gone']);
    expect(runs).toBe(2);
  });

  it('gives the error of a run to its calls, and says which results it expects', async () => {
    const cache = open();
    const failing = cache.cached.many(
      async (): Promise<number[]> => {
        throw new RangeError('down');
      },
      { name: 'failing', ttl: 'short' },
    );
    await expect(failing([1, 2])).rejects.toThrow(RangeError);
    const wrong = cache.cached.many(() => [1], { name: 'wrong', ttl: 'short' });
    await expect(wrong([1, 2])).rejects.toThrow(/an array of 2 values in the order of the ids/);
    const late = cache.cached.many(() => delay(10_000, [1], { ref: false }), {
      name: 'late',
      ttl: 'short',
      timeout: '10ms',
    });
    await expect(late([1, 2])).rejects.toMatchObject({ code: 'HOTPATH_FUNCTION_TIMEOUT' });
    // The run ends by a timer of its own.
    await waitFor(() => cache.stats().functions.late!.errors === 1);
    expect(cache.stats().functions.late!.runs).toBe(1);
    const cluster = { name: 'cluster', ttl: 'short', collapse: 'cluster' };
    expect(() => cache.cached.many(() => [1], cluster)).toThrow(/cached.collapse/);
  });
});

describe('cached.method', () => {
  it('caches a method with the standard and the legacy call of decorators', async () => {
    const cache = open();
    const standard = cache.cached.method({ name: 'standard', ttl: 'short' });
    const legacy = cache.cached.method({ name: 'legacy', ttl: 'short' });
    let runs = 0;
    class Shop {
      readonly factor = 2;
      async price(id: number): Promise<number> {
        runs++;
        return id * this.factor;
      }
      async stock(id: number): Promise<number> {
        runs++;
        return id + this.factor;
      }
    }
    const context = { kind: 'method', name: 'price' } as ClassMethodDecoratorContext;
    Shop.prototype.price = standard(Shop.prototype.price, context);
    const descriptor = Object.getOwnPropertyDescriptor(Shop.prototype, 'stock')!;
    legacy(Shop.prototype, 'stock', descriptor);
    Object.defineProperty(Shop.prototype, 'stock', descriptor);
    const shop = new Shop();
    expect([await shop.price(1), await shop.price(1), await shop.price(2)]).toEqual([2, 2, 4]);
    expect([await shop.stock(1), await shop.stock(1)]).toEqual([3, 3]);
    expect(runs).toBe(3);
    // Its results may differ from those of the first.
    await expect(new Shop().price(1)).rejects.toThrow(/second instance/);
    const field = { kind: 'field', name: 'x' } as never;
    const misused = cache.cached.method({ name: 'misused', ttl: 'short' });
    expect(() => misused(undefined as never, field)).toThrow(/expected to decorate a method/);
  });

  it('shares results between instances that key tells apart', async () => {
    const cache = open();
    const decorate = cache.cached.method({
      name: 'prices',
      ttl: 'short',
      key(this: unknown, id: number) {
        return [(this as Shop).name, id];
      },
    });
    let runs = 0;
    class Shop {
      readonly name: string;
      constructor(name: string) {
        this.name = name;
      }
      async price(id: number): Promise<string> {
        runs++;
        return `${this.name}:${id}`;
      }
    }
    Shop.prototype.price = decorate(Shop.prototype.price, { kind: 'method' } as ClassMethodDecoratorContext);
    expect(await new Shop('a').price(1)).toBe('a:1');
    expect(await new Shop('b').price(1)).toBe('b:1');
    expect(await new Shop('a').price(1)).toBe('a:1');
    expect(runs).toBe(2);
  });
});

describe('get, set, has and delete', () => {
  it('keeps copies of values, by keys of any text', async () => {
    const cache = open();
    for (const key of ['rate', '__proto__', '', '\ud800', '4:rate']) {
      const value = { at: new Date(1), list: [1] };
      expect(await cache.has(key)).toBe(false);
      expect(await cache.set(key, value, { ttl: 'short', tags: ['rates'] })).toBe(true);
      value.list.push(2);
      expect(await cache.get(key)).toEqual({ at: new Date(1), list: [1] });
      (await cache.get<typeof value>(key))!.list.push(3);
      expect(await cache.get(key)).toEqual({ at: new Date(1), list: [1] });
      expect(await cache.has(key)).toBe(true);
      expect(await cache.delete(key)).toBe(true);
      expect(await cache.get(key)).toBeUndefined();
    }
    await cache.set('rate', 1, { ttl: 'short', tags: ['rates'] });
    await cache.purge({ tag: 'rates' });
    expect(await cache.get('rate')).toBeUndefined();
    await expect(cache.set('f', () => 1, { ttl: 'short' })).rejects.toThrow(/a function/);
    await expect(cache.get(1 as never)).rejects.toMatchObject({ code: 'HOTPATH_ARGUMENTS_INVALID' });
    await expect(cache.set('x', 1, {} as never)).rejects.toMatchObject({ code: 'HOTPATH_CONFIG_INVALID' });
  });
});
