import type { RedisItem, StoredResponse } from '../../../src/store/stored-response.js';

/** The items of the golden files. */
export const at = { epoch: 'k3J9xQ2mT0aVbWcZ', position: 4711 };

/** Local times start at 0; on the shared clock they are later by this offset. */
export const sharedOffset = 1_795_000_000_000;
export const times = {
  toShared: (local: number) => local + sharedOffset,
  fromShared: (shared: number) => shared - sharedOffset,
};

export const key = 'GET https://shop.example/api/products?page=2';

export const plain: StoredResponse = {
  kind: 'response',
  key,
  stamp: Number.NEGATIVE_INFINITY,
  since: Number.NEGATIVE_INFINITY,
  url: '/api/products?page=2',
  path: '/api/products',
  tags: [],
  vary: [],
  status: 200,
  headers: [['Content-Type', 'application/json; charset=utf-8']],
  removed: [],
  body: Buffer.from('{"name":"Käse ☃"}'),
  etag: '"1f-abc"',
  ownEtag: false,
  date: 'Sat, 21 Nov 2026 06:00:00 GMT',
  storedAt: 5_000,
  initialAge: 0,
  freshUntil: 65_000,
  handlerMicros: 1234,
  reuse: { alwaysValidate: false, mustRevalidate: false, staleWhileRevalidate: 0, staleIfError: 0 },
  explicitlyShared: false,
};

const bytes = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));

/** By file name: every field, and every kind of body. */
export const golden: Readonly<Record<string, { readonly key: string; readonly item: RedisItem }>> = {
  plain: { key, item: plain },
  full: {
    key,
    item: {
      ...plain,
      tags: ['products', 'product:1', '__proto__', 'Füße'],
      vary: ['accept-language', 'origin'],
      status: 404,
      headers: [
        ['Content-Type', 'image/png'],
        ['Link', ['</a>; rel="preload"', '</b>; rel="preload"']],
        ['constructor', 'a header like any other'],
        ['X-Latin', 'Stra\xdfe\ttab'],
      ],
      removed: ['X-Powered-By'],
      body: bytes,
      ownEtag: true,
      lastModified: 'Fri, 20 Nov 2026 06:00:00 GMT',
      initialAge: 12,
      reuse: { alwaysValidate: true, mustRevalidate: true, staleWhileRevalidate: 300, staleIfError: 86_400 },
      explicitlyShared: true,
      anyOrigin: true,
      template: '/api/products',
    },
  },
  empty: { key, item: { ...plain, status: 204, headers: [], body: Buffer.alloc(0) } },
  variants: {
    key,
    item: { kind: 'variants', names: ['accept-language'], keys: [`${key} accept-language:de`, `${key} x`] },
  },
};
