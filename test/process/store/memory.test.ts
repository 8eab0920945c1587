import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Compactor } from '../../../src/store/compact-response.js';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import { type StoredResponse, type StoreItem, sizeOf } from '../../../src/store/stored-response.js';

function response(key: string, fields: Partial<StoredResponse> = {}): StoredResponse {
  return {
    kind: 'response',
    key,
    stamp: 0,
    since: 0,
    tags: [],
    url: '/',
    path: '/',
    status: 200,
    headers: [],
    removed: [],
    body: Buffer.alloc(0),
    etag: '"x"',
    date: 'Sat, 01 Jan 2028 00:00:00 GMT',
    storedAt: 0,
    initialAge: 0,
    freshUntil: 1,
    handlerMicros: 0,
    explicitlyShared: false,
    vary: [],
    ownEtag: true,
    reuse: { alwaysValidate: false, mustRevalidate: false, staleWhileRevalidate: 0, staleIfError: 0 },
    ...fields,
  };
}

const bare = sizeOf('k', response('k'));

describe('the memory tier', () => {
  it.each<[string, string, StoreItem, number]>([
    ['the body', 'k', response('k', { body: Buffer.alloc(1000) }), 1000],
    ['the key', 'k'.repeat(1001), response('k'), 1000],
    ['characters of two bytes', 'ш'.repeat(501), response('k'), 1000],
    [
      'a note about the queries of a path',
      'k',
      {
        kind: 'variance',
        variance: { anyOrder: false, mode: 'ignore', names: new Set(['n'.repeat(1000)]) },
        generation: 1,
      },
      1000,
    ],
    ['a header', 'k', response('k', { headers: [['x', 'v'.repeat(1000)]] }), 1000],
    [
      'a header of many lines',
      'k',
      response('k', { headers: [['x', Array(50).fill('0123456789'.repeat(2))]] }),
      1000,
    ],
    ['the URL', 'k', response('k', { url: 'u'.repeat(1000) }), 999],
    ['a tag', 'k', response('k', { tags: ['t'.repeat(1000)] }), 1000],
    ['variant keys', 'k', { kind: 'variants', names: ['a'], keys: Array(10).fill('v'.repeat(100)) }, 900],
  ])('counts %s in the size of an item [K11]', (_, key, item, atLeast) => {
    expect(sizeOf(key, item) - bare).toBeGreaterThanOrEqual(atLeast);
  });

  it('never exceeds maxBytes, and keeps the most recently used entries [K11, I-BOUND]', () => {
    const store = new MemoryStore({ maxBytes: 100_000, maxEntries: 1000 });
    store.set('hot', response('hot', { body: Buffer.alloc(1000) }));
    for (let i = 0; i < 500; i++) {
      store.set(`cold${i}`, response(`cold${i}`, { body: Buffer.alloc(1000) }));
      expect(store.get('hot')).toBeDefined();
      expect(store.bytes).toBeLessThanOrEqual(100_000);
    }
    expect(store.get('cold0')).toBeUndefined();
  });

  it('never exceeds maxEntries [K11, I-BOUND]', () => {
    const store = new MemoryStore({ maxBytes: 1e9, maxEntries: 10 });
    for (let i = 0; i < 100; i++) store.set(`k${i}`, response(`k${i}`));
    expect(store.entries).toBe(10);
  });

  it('keeps a reused entry that grows beyond its share, and evicts new ones [K11]', () => {
    const store = new MemoryStore({ maxBytes: 10_000, maxEntries: 10 });
    const hot = response('hot', { body: Buffer.alloc(1000) });
    store.set('hot', hot);
    store.get('hot');
    store.set('cold', response('cold', { body: Buffer.alloc(1000) }));
    hot.encoded = new Map([['gzip', { body: Buffer.alloc(7000), hits: 0, upgraded: false }]]);
    expect(store.resize('hot')).toBe(true);
    expect([store.peek('hot'), store.peek('cold')]).toEqual([hot, undefined]);
    expect(store.set('hot', response('hot', { body: Buffer.alloc(9000) }))).toBe(true);
  });

  it('rejects an item larger than the tier, and removes the item it would replace [K11]', () => {
    const store = new MemoryStore({ maxBytes: 10_000, maxEntries: 10 });
    store.set('k', response('k'));
    expect(store.set('k', response('k', { body: Buffer.alloc(20_000) }))).toBe(false);
    expect(store.peek('k')).toBeUndefined();
    expect(store.bytes).toBe(0);
  });

  it('keeps nothing after close [K11]', () => {
    const store = new MemoryStore({ maxBytes: 10_000, maxEntries: 10 });
    store.set('k', response('k'));
    store.close();
    expect(store.set('late', response('late'))).toBe(false);
    expect([store.entries, store.bytes]).toEqual([0, 0]);
  });

  it.each<[string, (i: number) => Partial<StoredResponse>]>([
    ['small bodies', (i) => ({ body: Buffer.from(`body ${i}`.repeat(5)) })],
    ['bodies of 4 kB', (i) => ({ body: Buffer.alloc(4096, i % 256) })],
    ['many headers', (i) => ({ headers: headersOf(i, 20) })],
    ['many tags', (i) => ({ tags: Array.from({ length: 50 }, (_, n) => `tag:${i}:${n}`) })],
    ['long URLs', (i) => ({ url: `/${i}?${'q'.repeat(1000)}${i}` })],
    ['URLs beyond Latin-1', (i) => ({ url: `/${i}?${'я'.repeat(1000)}${i}` })],
  ])('counts the bytes of real memory for %s [K11]', async (_, fields) => {
    // The memory of the test runner and the compiler is sometimes included.
    const shares: number[] = [];
    const fitting = () => shares.filter((share) => share > 0.6 && share < 1.1).length;
    // Two of three decide.
    while (shares.length < 3 && fitting() < 2) {
      const { real, counted } = await memoryOf(3000, fields);
      shares.push(real / counted);
    }
    expect(fitting(), `shares: ${shares}`).toBe(2);
  });

  it('adds at most 900 bytes to body and key for an entry with ten headers and two tags', async () => {
    const { real, keys } = await memoryOf(30_000, (i) => ({
      url: `/products/${i}`,
      etag: `W/"3e8-${'e'.repeat(27 - `${i}`.length)}${i}"`,
      lastModified: new Date(1.8e12 + i * 1000).toUTCString(),
      tags: ['products', `product:${i}`],
      headers: [
        ...Array.from({ length: 8 }, (_, n): [string, string] => [`X-Header-${n}`, flat(`value ${n}`)]),
        ['Last-Modified', new Date(1.8e12 + i * 1000).toUTCString()],
        ['Link', flat(`</products/${i + 1}>; rel="next"`)],
      ],
      body: Buffer.alloc(1000, i % 256),
    }));
    expect((real - keys) / 30_000 - 1000).toBeLessThan(900);
  });

  it.each<[string, (large: string) => Partial<StoredResponse>]>([
    ['a tag', (large) => ({ tags: [large.slice(1000, 1030)] })],
    ['a header', (large) => ({ headers: [['x', large.slice(1000, 1030)]] })],
    ['lines of a header', (large) => ({ headers: [['x', [large.slice(1000, 1030), large.slice(0, 50)]]] })],
    ['the entity tag', (large) => ({ etag: large.slice(1000, 1030) })],
    ['the URL', (large) => ({ url: large.slice(1000, 1030) })],
    ['the template', (large) => ({ template: large.slice(1000, 1030) })],
    ['a small body', (large) => ({ body: Buffer.from(large).subarray(1000, 1030) })],
  ])('does not keep the large value that %s was cut out of', async (_, fields) => {
    const large = (i: number) => flat(`${i}`.padEnd(1e5, `${i},`));
    const { real, counted } = await memoryOf(300, (i) => fields(large(i)));
    expect(real).toBeLessThan(counted + 5e6); // of 30 MB
  });
});

/** The real memory of this many entries, stored one by one, and the counted memory. Bytes. */
async function memoryOf(count: number, fields: (i: number) => Partial<StoredResponse>) {
  const store = new MemoryStore({ maxBytes: 1e9, maxEntries: count });
  const compactor = new Compactor();
  let keys = 0;
  const before = await taken();
  for (let i = 0; i < count; i++) {
    const entry = compactor.compact(response(flat(`key of ${i}`), fields(i)));
    store.set(entry.key, entry);
    keys += entry.key.length;
  }
  const real = (await taken()) - before;
  expect(store.entries).toBe(count);
  return { real, counted: store.bytes, keys };
}

function headersOf(i: number, count: number): [string, string][] {
  return Array.from({ length: count }, (_, n) => [`x-header-${n}`, flat(`value ${n} of the response ${i}`)]);
}

/** A flat string, like one from the wire: a concatenated string shares the memory of its parts. */
function flat(text: string): string {
  return Buffer.from(text).toString('latin1');
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Used bytes of heap and buffers, after garbage collection. */
async function taken(): Promise<number> {
  // The memory of buffers is released shortly after their collection.
  for (let i = 0; i < 4; i++) {
    collect();
    await new Promise(setImmediate);
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
