import { describe, expect, it } from 'vitest';
import { Doorkeeper } from '../../../src/store/memory/doorkeeper.js';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';

describe('admission to a store', () => {
  it('recognises a repeated key', () => {
    const admission = new Doorkeeper(1000);
    const keys = Array.from({ length: 100 }, (_, i) => `GET|shop.example|/products/${i}`);
    expect(keys.filter((key) => admission.hasMet(key))).toEqual([]);
    expect(admission.hasMet(keys[99]!)).toBe(true);
    // A hundred keys in a thousand slots: some have collided, between none and 23 in 3,000 trials.
    expect(keys.filter((key) => admission.hasMet(key)).length).toBeGreaterThan(65);
  });

  it.each([1, 64, 1000, 100_000])('forgets keys after many others, for a store of %i', (entries) => {
    const admission = new Doorkeeper(entries);
    const first = Array.from({ length: 50 }, (_, i) => `first ${i}`);
    for (const key of first) admission.hasMet(key);
    for (let i = 0; i < Math.max(entries, 64) * 12; i++) admission.hasMet(`other ${i}`);
    expect(first.filter((key) => admission.hasMet(key)).length).toBeLessThan(5);
  });

  it('accepts an empty key and any other text as a key', () => {
    const admission = new Doorkeeper(64);
    for (const key of ['', '\0', '\ud800', 'ш'.repeat(10_000)]) {
      expect([admission.hasMet(key), admission.hasMet(key)]).toEqual([false, true]);
    }
  });
});

describe('admission to memory of an entry that Redis holds', () => {
  const item = { kind: 'variants', names: [], keys: [] } as const;
  const store = (maxEntries: number, maxBytes = 1e6) => new MemoryStore({ maxEntries, maxBytes });

  it('accepts everything while there is room', () => {
    const tier = store(3);
    for (const key of ['a', 'b', 'c']) {
      expect(tier.admits(key, item)).toBe(true);
      tier.set(key, item);
    }
    expect(tier.admits('d', item)).toBe(false);
  });

  it('accepts only a repeated key when entries or bytes are full', () => {
    for (const tier of [store(2), store(1000, 500)]) {
      for (let i = 0; i < 20; i++) tier.set(`${i}`, item);
      expect([tier.admits('new', item), tier.admits('new', item)]).toEqual([false, true]);
    }
  });

  it('accepts a replacement of an existing item', () => {
    const tier = store(1);
    tier.set('a', item);
    expect(tier.admits('a', item)).toBe(true);
  });

  // Zipf's law, s = 0.9, over ten times as many keys as entries fit.
  it('keeps the hit ratio of admitting everything, with a quarter of the writes', () => {
    const [places, count] = [200, 2000];
    const sums: number[] = [];
    for (let i = 0; i < count; i++) sums.push((sums.at(-1) ?? 0) + (i + 1) ** -0.9);
    let seed = 1;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const asked = Array.from({ length: 60_000 }, () => {
      const wanted = random() * sums.at(-1)!;
      return `/products/${sums.findIndex((sum) => sum >= wanted)}`;
    });
    const run = (isAll: boolean) => {
      const tier = store(places);
      let hits = 0;
      let puts = 0;
      for (const key of asked) {
        if (tier.get(key)) hits++;
        else if (isAll || tier.admits(key, item)) puts += Number(tier.set(key, item));
      }
      return { hits, puts };
    };
    const [all, some] = [run(true), run(false)];
    expect(some.hits).toBeGreaterThanOrEqual(all.hits);
    expect(some.puts).toBeLessThan(all.puts / 4);
  });
});
