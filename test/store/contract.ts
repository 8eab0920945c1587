import { describe, expect, it } from 'vitest';
import type { RedisItem, StoredResponse, StoreItem } from '../../src/store/stored-response.js';
import { golden, plain } from './golden/items.js';

/** The common interface of the memory tier, the Redis tier and both together. */
export interface ItemStore {
  get(key: string): StoreItem | undefined | Promise<StoreItem | RedisItem | undefined>;
  /** @param ttl milliseconds. */
  set(key: string, item: StoreItem | RedisItem, ttl: number): boolean | Promise<boolean>;
  delete(key: string): boolean | Promise<boolean>;
}

/** An item with its own key and current times. */
export function itemOf(key: string, changes: Partial<StoredResponse> = {}): StoredResponse {
  const now = Math.floor(performance.now());
  return { ...plain, key, stamp: 1, storedAt: now, freshUntil: now + 60_000, ...changes };
}

const minute = 60_000;
const names = [
  'GET https://shop.example/a',
  'GET https://shop.example/ab',
  'GET https://shop.example/a?b=*[c-d]\\?',
  '',
  ' ',
  '*',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'line\r\nDEL x\r\n',
  'nul\0nul',
  '☃ Füße',
  '\ud800',
  '\ud801',
  `GET https://shop.example/${'long/'.repeat(3000)}`,
];

/** Tests for every store. `open` returns an empty store that accepts bodies of up to 1 MB. */
export function storeContract(open: () => Promise<ItemStore>): void {
  describe('store contract', () => {
    it('has nothing under a key that was never set', async () => {
      const store = await open();
      for (const name of names) expect(await store.get(name)).toBeUndefined();
    });

    it('returns every field and every byte that was set', async () => {
      const store = await open();
      for (const [name, { item }] of Object.entries(golden)) {
        if (item.kind === 'encoded-result') continue; // Redis only
        const given =
          item.kind === 'variants'
            ? item
            : itemOf(name, { ...item, key: name, stamp: 7, since: 7, storedAt: 0 });
        expect(await store.set(name, given, minute)).toBe(true);
        const got = await store.get(name);
        if (got?.kind !== 'response' || given.kind !== 'response') expect(got).toEqual(given);
        else {
          // The shared clock is accurate to a few milliseconds.
          expect(Math.abs(got.storedAt - given.storedAt)).toBeLessThan(100);
          expect(Math.abs(got.freshUntil - given.freshUntil)).toBeLessThan(100);
          // Read by name, because some fields of a stored response are on its prototype.
          for (const field of Object.keys(given) as (keyof StoredResponse)[])
            if (!field.match(/^(?:storedAt|freshUntil)$/))
              expect([field, got[field]]).toEqual([field, given[field]]);
        }
      }
    });

    it('keeps every key apart, with any characters [B16, G26]', async () => {
      const store = await open();
      for (const [index, name] of names.entries()) {
        expect(await store.set(name, itemOf(name, { body: Buffer.from(`body ${index}`) }), minute)).toBe(
          true,
        );
      }
      for (const [index, name] of names.entries()) {
        const item = (await store.get(name)) as StoredResponse;
        expect(item.key).toBe(name);
        expect(item.body.toString()).toBe(`body ${index}`);
      }
      expect(await store.delete('*')).toBe(true);
      expect(await store.get('*')).toBeUndefined();
      expect(await store.get(names[0]!)).toBeDefined();
    });

    it('replaces an item of either kind by a later one', async () => {
      const store = await open();
      await store.set('k', itemOf('k', { body: Buffer.from('first, and longer') }), minute);
      await store.set('k', itemOf('k', { body: Buffer.from('second') }), minute);
      expect(((await store.get('k')) as StoredResponse).body.toString()).toBe('second');
      await store.set('k', { kind: 'variants', names: ['accept'], keys: ['k 1'] }, minute);
      expect((await store.get('k'))?.kind).toBe('variants');
      await store.set('k', itemOf('k'), minute);
      expect((await store.get('k'))?.kind).toBe('response');
    });

    it('removes a deleted item, and returns whether it existed', async () => {
      const store = await open();
      await store.set('k', itemOf('k'), minute);
      await store.set('other', itemOf('other'), minute);
      expect(await store.delete('k')).toBe(true);
      expect(await store.get('k')).toBeUndefined();
      expect(await store.get('other')).toBeDefined();
      expect(await store.delete('k')).toBe(false);
    });

    it('accepts a body of 1 MB of any bytes [G14]', async () => {
      const store = await open();
      const body = Buffer.from(Uint8Array.from({ length: 1024 ** 2 }, (_, i) => (i * 31) % 256));
      expect(await store.set('large', itemOf('large', { body }), minute)).toBe(true);
      expect(((await store.get('large')) as StoredResponse).body.equals(body)).toBe(true);
    });

    it('keeps 200 simultaneous operations apart', async () => {
      const store = await open();
      const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`);
      await Promise.all(keys.map((key) => store.set(key, itemOf(key, { body: Buffer.from(key) }), minute)));
      const items = await Promise.all(keys.map((key) => store.get(key)));
      expect(items.map((item) => (item as StoredResponse).body.toString())).toEqual(keys);
    });
  });
}
