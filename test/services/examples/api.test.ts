import { request } from 'node:http';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seedDatabase } from '../../../examples/products-api/seed.js';
import {
  rowChecksums,
  SIZES,
  sendJson,
  serveShop,
  startTestShop,
  type TestShop,
} from '../../examples/shop.js';
import { waitFor } from '../../helpers/http.js';

let shop: TestShop;

beforeAll(async () => {
  shop = await startTestShop();
});

afterAll(() => shop.stop());

const getJson = async (path: string) => {
  const response = await fetch(`${shop.url}${path}`);
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    body: JSON.parse(await response.text()),
  };
};

describe('the product list', () => {
  test('selects only the columns of the requested fields', async () => {
    const before = shop.statements.length;
    const { body } = await getJson('/api/products?fields=priceCents,id&pageSize=3');
    expect(body.items.map(Object.keys)).toEqual(Array(3).fill(['id', 'priceCents']));
    const sql = shop.statements.slice(before).join('\n');
    expect(sql).toContain('p.price_cents');
    expect(sql).not.toMatch(/description|p\.name|categories|\*(?!\))/);
  });

  test('caps the page size at 100', async () => {
    const { body } = await getJson('/api/products?pageSize=5000&fields=id');
    expect(body.pageSize).toBe(100);
    expect(body.items).toHaveLength(100);
  });

  test('returns every product exactly once over all pages, with ties in the sort order', async () => {
    const ids = new Set<number>();
    for (let page = 1; page <= SIZES.products / 100; page++) {
      const { body } = await getJson(`/api/products?pageSize=100&page=${page}&sort=-price&fields=id`);
      for (const { id } of body.items) ids.add(id);
    }
    expect(ids.size).toBe(SIZES.products);
  });

  test('filters by category and price, and counts the filtered products', async () => {
    const { body } = await getJson('/api/products?category=audio&minPrice=10000&maxPrice=20000&pageSize=100');
    expect(body.total).toBe(body.items.length);
    expect(body.total).toBeGreaterThan(0);
    for (const item of body.items) {
      expect(item.category).toBe('audio');
      expect(item.priceCents).toBeGreaterThanOrEqual(10_000);
      expect(item.priceCents).toBeLessThanOrEqual(20_000);
    }
  });

  test.each([
    'page=0',
    'page=1.5',
    'page=-1',
    'page=',
    'page=99999999999',
    'pageSize=0',
    'pageSize=ten',
    'page=1&page=2',
    'sort=name;drop',
    'sort=constructor',
    'fields=id,password',
    'fields=__proto__',
    'fields=',
    'category=%00',
    'minPrice=1e3',
  ])('sends 400 in problem+json for ?%s, without a database query', async (query) => {
    const before = shop.statements.length;
    const { status, type, body } = await getJson(`/api/products?${query}`);
    expect(status).toBe(400);
    expect(type).toContain('application/problem+json');
    expect(body).toMatchObject({ title: 'Bad Request', status: 400, detail: expect.any(String) });
    expect(shop.statements).toHaveLength(before);
  });
});

describe('the other routes', () => {
  test.each(['abc', '0', '-1', '1.0', '99999999999', '%00'])('send 400 for the id %s', async (id) => {
    expect((await getJson(`/api/products/${id}`)).status).toBe(400);
  });

  test.each(['/api/products/2000000000', '/nothing/here', '/assets/app.js'])(
    'send 404 in problem+json for %s',
    async (path) => {
      const { status, type, body } = await getJson(path);
      expect({ status, title: body.title }).toEqual({ status: 404, title: 'Not Found' });
      expect(type).toContain('application/problem+json');
    },
  );

  test('find the products that have all the searched words', async () => {
    const { body } = await getJson('/api/search?q=oak%20lamp');
    expect(body.items.length).toBeGreaterThan(0);
    for (const { name } of body.items) expect(name).toMatch(/oak lamp/);
    expect((await getJson('/api/search?q=')).status).toBe(400);
    expect((await getJson(`/api/search?q=${encodeURIComponent(`'); DROP TABLE x; --`)}`)).status).toBe(200);
  });

  test('report category figures that add up to all orders that were not returned', async () => {
    const { body } = await getJson('/api/categories/stats');
    expect(body.categories).toHaveLength(30);
    for (const { unitsSold, revenueCents } of body.categories) {
      expect(unitsSold).toBeGreaterThan(0);
      expect(revenueCents).toBeGreaterThan(unitsSold);
    }
  });

  test('create a product with a Location, and reject one without a price', async () => {
    const created = await sendJson('POST', `${shop.url}/api/products`, {
      name: 'Green tea',
      priceCents: 450,
      category: 'tea-coffee',
    });
    expect(created.status).toBe(201);
    const found = await getJson(created.headers.get('location') ?? '');
    expect(found.body).toMatchObject({
      name: 'Green tea',
      priceCents: 450,
      category: 'tea-coffee',
      stock: 0,
    });
    const refused = await sendJson('POST', `${shop.url}/api/products`, {
      name: 'Nothing',
      category: 'audio',
    });
    expect(refused.status).toBe(400);
  });

  test.each([
    [{ priceCents: -1 }],
    [{ priceCents: '5' }],
    [{ id: 3 }],
    [{ name: '' }],
    [{ category: 'unknown' }],
    [{}],
    [[]],
  ])('reject a change to %j with 400', async (change) => {
    expect((await sendJson('PATCH', `${shop.url}/api/products/1`, change)).status).toBe(400);
  });

  test('compute a forecast again when its product has changed', async () => {
    const post = () => sendJson('POST', `${shop.url}/api/forecasts`, { productId: 3, runs: 1_000 });
    const path = (await post()).headers.get('location');
    await waitFor(async () => (await getJson(`${path}`)).body.state === 'done');
    await getJson(`${path}/result`);
    expect((await post()).status).toBe(200);
    expect((await sendJson('PATCH', `${shop.url}/api/products/3`, { stock: 1 })).status).toBe(200);
    expect((await post()).status).toBe(202);
  });

  test('echo JSON, and nothing that is not JSON', async () => {
    const sent = { hello: ['shop', 1, null] };
    expect(await (await sendJson('POST', `${shop.url}/api/echo`, sent)).json()).toEqual(sent);
    const broken = await fetch(`${shop.url}/api/echo`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"a":',
    });
    expect(broken.status).toBe(400);
    const text = await fetch(`${shop.url}/api/echo`, { method: 'POST', body: '<script>' });
    expect(text.status).toBe(400);
  });

  test('stream the whole table as an export', async () => {
    const response = await fetch(`${shop.url}/api/orders/export.csv`);
    expect(response.headers.get('content-disposition')).toContain('orders.csv');
    const lines = (await response.text()).split('\r\n');
    expect(lines).toHaveLength(1 + SIZES.orderItems + 1);
    expect(lines[0]).toBe('order,line,placed_at,status,product,quantity,price_cents');
    expect(new Set(lines.slice(1, -1).map((line) => line.split(',', 2).join())).size).toBe(SIZES.orderItems);
  });

  test('start an event stream at once, report a change, and never compress the stream', async () => {
    const leave = new AbortController();
    const response = await fetch(`${shop.url}/api/events`, { signal: leave.signal });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    expect(response.headers.get('content-encoding')).toBeNull();
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    const until = async (wanted: string) => {
      while (!seen.includes(wanted)) seen += (await reader.read()).value;
    };
    // Nothing else is sent before a change, so bytes that are held back now would never arrive.
    await until('event: hello');
    await sendJson('PATCH', `${shop.url}/api/products/9`, { priceCents: 4_321 });
    await until('"priceCents":4321');
    leave.abort();
  });
});

describe('around the API', () => {
  test.each([
    ['localhost', 200],
    ['127.0.0.1:8080', 200],
    ['[::1]:3000', 200],
    ['evil.example', 421],
    ['localhost.evil.example', 421],
    ['localhost:evil', 421],
  ])('answer the host %s with %i', async (host, status) => {
    const received = await new Promise((resolve, reject) => {
      const sent = request(`${shop.url}/api/products/1`, { headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on('error', reject).end();
    });
    expect(received).toBe(status);
  });

  test('sends a 500 without details when the database fails', async () => {
    const secret = new Error('password authentication failed for user "shop" at 10.0.0.7');
    const reported: unknown[] = [];
    const report = (error: unknown) => reported.push(error);
    const failing = await serveShop({ db: { query: () => Promise.reject(secret) }, report });
    try {
      const response = await fetch(`${failing.url}/api/products`);
      const text = await response.text();
      expect(response.status).toBe(500);
      expect(JSON.parse(text)).toEqual({ type: 'about:blank', title: 'Internal Server Error', status: 500 });
      expect(JSON.stringify([...response.headers])).not.toContain('10.0.0.7');
      expect(reported).toEqual([secret]);
    } finally {
      await failing.stop();
    }
  });

  test('sends 429 beyond the rate limit, and no quota in any response', async () => {
    const limited = await serveShop({ db: shop.db, rateLimit: 3 });
    try {
      const statuses: number[] = [];
      for (let call = 0; call < 4; call++) {
        const response = await fetch(`${limited.url}/api/products/${call + 1}`);
        statuses.push(response.status);
        expect([...response.headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([]);
        if (response.status === 429) expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
      }
      expect(statuses).toEqual([200, 200, 200, 429]);
    } finally {
      await limited.stop();
    }
  });

  test('has no ?hotpath=off and no query count without the demonstration', async () => {
    const serious = await serveShop({ db: shop.db, demo: false });
    try {
      for (const expected of ['MISS', 'HIT']) {
        const response = await fetch(`${serious.url}/api/products/1?hotpath=off`);
        expect(response.headers.get('x-cache')).toBe(expected);
        expect(response.headers.get('x-sql-queries')).toBeNull();
      }
      const purge = await sendJson('POST', `${serious.url}/api/demo/cold`, { url: '/api/products/1' });
      expect(purge.status).toBe(404);
    } finally {
      await serious.stop();
    }
  });

  test('purges one URL of the API for the demonstration, and nothing else', async () => {
    const cold = (url: unknown) => sendJson('POST', `${shop.url}/api/demo/cold`, { url });
    const read = async (id: number) => (await fetch(`${shop.url}/api/products/${id}`)).headers.get('x-cache');
    await read(31);
    await read(32);
    expect((await cold('/api/products/31')).status).toBe(204);
    expect([await read(31), await read(32)]).toEqual(['MISS', 'HIT']);
    for (const url of ['/', '*', 7, undefined]) expect((await cold(url)).status).toBe(400);
  });
});

describe('the seed', () => {
  // Their rows are those with the first numbers of a larger shop.
  const FEW = { products: 500, orderItems: 2_000 };

  test('inserts the same rows in every database, and only once', async () => {
    const pools: pg.Pool[] = [];
    try {
      for (const name of ['first', 'second']) {
        pools.push(new pg.Pool({ connectionString: await shop.postgres.createDatabase(name) }));
      }
      for (const pool of pools) expect(await seedDatabase(pool, FEW)).toBe(true);
      const [first, second] = await Promise.all(pools.map(rowChecksums));
      expect(second).toEqual(first);
      expect(new Set(Object.values(first!)).size).toBe(5);

      expect(await seedDatabase(pools[0]!, FEW)).toBe(false);
      expect(await seedDatabase(pools[0]!, { ...FEW, products: 1_000 })).toBe(true);
    } finally {
      for (const pool of pools) await pool.end();
    }
  }, 60_000);

  test('runs once when several instances start together', async () => {
    const pool = new pg.Pool({ connectionString: await shop.postgres.createDatabase('shared'), max: 4 });
    try {
      const made = await Promise.all(Array.from({ length: 4 }, () => seedDatabase(pool, FEW)));
      expect(made.filter(Boolean)).toHaveLength(1);
    } finally {
      await pool.end();
    }
  }, 60_000);

  test.each([99, 1.5, Number.NaN, 1e9])(
    'rejects the size %d before it touches the database',
    async (products) => {
      const pool = new pg.Pool({ host: 'nowhere.invalid' });
      await expect(seedDatabase(pool, { products })).rejects.toThrow(RangeError);
    },
  );
});
