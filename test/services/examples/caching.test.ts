import { Agent, type ClientRequest, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sendJson, startTestShop, type TestShop } from '../../examples/shop.js';
import { ask } from '../../helpers/client.js';

let shop: TestShop;

beforeAll(async () => {
  shop = await startTestShop();
});

afterAll(() => shop.stop());

const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(`${shop.url}${path}`, { headers });
  return { response, headers: response.headers, status: response.status, text: await response.text() };
};

describe('a list requested twice', () => {
  test('is a MISS that queries the database, then a HIT that does not [A18]', async () => {
    const path = '/api/products?pageSize=50&sort=price';
    const first = await get(path, { 'Accept-Encoding': 'gzip' });
    const second = await get(path, { 'Accept-Encoding': 'gzip' });
    expect(first.headers.get('x-cache')).toBe('MISS');
    expect(first.headers.get('x-sql-queries')).toBe('2');
    expect(first.headers.get('cache-status')).toMatch(/^hotpath; fwd=/);
    expect(second.headers.get('x-cache')).toBe('HIT');
    expect(second.headers.get('x-sql-queries')).toBeNull();
    expect(second.headers.get('cache-status')).toMatch(/^hotpath; hit/);
    expect(second.headers.get('age')).toMatch(/^\d+$/);
    expect(second.text).toBe(first.text);
    for (const { headers } of [first, second]) {
      expect(headers.get('content-encoding')).toBe('gzip');
      expect(headers.get('x-response-time')).toMatch(/^\d+\.\d{3}ms$/);
      expect(headers.get('x-request-id')).toMatch(/^[A-Za-z0-9._:-]{1,128}$/);
    }
    expect(first.headers.get('x-request-id')).not.toBe(second.headers.get('x-request-id'));
  });

  test('is sent unencoded, at the front door, to a client that accepts no encoding', async () => {
    const path = '/api/products?pageSize=50&sort=newest';
    const without = await get(path, { 'Accept-Encoding': 'identity' });
    await get(path, { 'Accept-Encoding': 'br' });
    const { hits } = shop.app.perf.cache.stats().frontDoor;
    const again = await get(path, { 'Accept-Encoding': 'identity' });
    expect(shop.app.perf.cache.stats().frontDoor).toEqual({ hits: hits + 1, skipped: {} });
    expect(again.headers.get('content-encoding')).toBeNull();
    expect(again.headers.get('x-cache')).toBe('HIT');
    expect(again.text).toBe(without.text);
  });

  test('is a 304 for a client that has a current copy', async () => {
    const path = '/api/products?pageSize=7';
    const { headers } = await get(path);
    const again = await get(path, { 'If-None-Match': headers.get('etag') ?? '' });
    expect(again.status).toBe(304);
    expect(again.text).toBe('');
    expect(again.headers.get('x-sql-queries')).toBeNull();
  });

  test('shares one entry across cookies and unknown parameters, which no handler reads', async () => {
    const path = '/api/products?pageSize=8';
    await get(path);
    expect((await get(path, { Cookie: 'consent=yes' })).headers.get('x-cache')).toBe('HIT');
    expect((await get(`${path}&utm_source=mail`)).headers.get('x-cache')).toBe('HIT');
    expect((await get(`${path}&page=2`)).headers.get('x-cache')).toBe('MISS');
  });

  test('runs its query once for 30 simultaneous requests [H01]', async () => {
    const before = shop.statements.length;
    const path = '/api/categories/stats';
    const crowd = await Promise.all(Array.from({ length: 30 }, () => get(path)));
    expect(new Set(crowd.map(({ text }) => text)).size).toBe(1);
    expect(shop.statements.length - before).toBe(1);
  });

  test('comes from the plain app with ?hotpath=off, without the fields that hotpath adds', async () => {
    const path = '/api/products?pageSize=50';
    const withHotpath = await get(path);
    const without = await get(`${path}&hotpath=off`, { 'Accept-Encoding': 'gzip' });
    for (const name of [
      'x-cache',
      'age',
      'cache-status',
      'content-encoding',
      'x-response-time',
      'x-request-id',
    ]) {
      expect(without.headers.get(name), name).toBeNull();
    }
    expect(without.headers.get('x-sql-queries')).toBe('2');
    expect(without.text).toBe(withHotpath.text);
  });
});

describe('after a write', () => {
  test('is fresh at the next read, 500 times out of 500, during other reads [H07]', async () => {
    const one = '/api/products/1';
    const list = '/api/products?pageSize=1&fields=id,priceCents';
    const port = Number(new URL(shop.url).port);
    // Node's own client takes half as long as `fetch`.
    const agent = new Agent({ keepAlive: true });
    const read = async (path: string) =>
      JSON.parse(String((await ask(port, { path, agent, headers: { 'Accept-Encoding': 'gzip' } })).body));
    const others = () => [read(one), read(list)];
    const outdated: number[] = [];
    for (let turn = 1; turn <= 500; turn++) {
      const priceCents = 1_000 + turn;
      const body = JSON.stringify({ priceCents });
      const headers = { 'Content-Type': 'application/json' };
      const write = () => ask(port, { path: one, method: 'PATCH', headers, body, agent });
      // The other reads begin before the write and after it, in turn.
      const before = turn % 2 === 0 ? others() : [];
      const writing = write();
      const after = turn % 2 === 0 ? [] : others();
      const written = await writing;
      if (written.status !== 200) throw new Error(`the write got ${written.status}`);
      const [product, page] = await Promise.all([read(one), read(list)]);
      const seen = [product.priceCents, page.items[0].priceCents];
      if (seen.some((price) => price !== priceCents)) outdated.push(turn);
      await Promise.all([...before, ...after]);
    }
    agent.destroy();
    expect(outdated).toEqual([]);
    expect((await get(one)).headers.get('x-cache')).toBe('HIT');
  });

  test('keeps the entries of other products', async () => {
    await get('/api/products/2');
    await sendJson('PATCH', `${shop.url}/api/products/3`, { priceCents: 555 });
    expect((await get('/api/products/2')).headers.get('x-cache')).toBe('HIT');
  });

  test('keeps every entry if the write was rejected', async () => {
    await get('/api/products/4');
    await sendJson('PATCH', `${shop.url}/api/products/4`, { priceCents: 'free' });
    expect((await get('/api/products/4')).headers.get('x-cache')).toBe('HIT');
  });

  test('includes a new product in the list', async () => {
    const path = '/api/products?sort=newest&pageSize=1';
    await get(path);
    const product = { name: 'Newest of all', priceCents: 1, category: 'toys' };
    expect((await sendJson('POST', `${shop.url}/api/products`, product)).status).toBe(201);
    expect(JSON.parse((await get(path)).text).items[0].name).toBe('Newest of all');
  });
});

describe('the orders of a customer', () => {
  const ordersOf = (id: number) => get('/api/me/orders', { Authorization: `Bearer customer-${id}` });

  test('are never sent to another customer, even with simultaneous requests [A02]', async () => {
    const ids = Array.from({ length: 150 }, (_, turn) => (turn % 5) + 1);
    for (let wave = 0; wave < 2; wave++) {
      const answers = await Promise.all(ids.map(async (id) => ({ id, answer: await ordersOf(id) })));
      for (const { id, answer } of answers) {
        expect(answer.status).toBe(200);
        expect(JSON.parse(answer.text).customer.id).toBe(id);
      }
    }
    const again = await ordersOf(3);
    expect(again.headers.get('x-cache')).toBe('HIT');
    expect(again.headers.get('x-sql-queries')).toBe('0');
    expect(again.headers.get('cache-control')).toContain('private');
  });

  test.each([
    undefined,
    'Bearer',
    'Bearer customer-0',
    'Bearer customer-1 x',
    'Basic customer-1',
    'Bearer 1',
  ])('are refused for the credentials %j, even when they are cached [A03]', async (credentials) => {
    await ordersOf(1);
    const { status, headers } = await get(
      '/api/me/orders',
      credentials ? { Authorization: credentials } : {},
    );
    expect(status).toBe(401);
    expect(headers.get('www-authenticate')).toMatch(/^Bearer /);
  });

  test('are a 404 for an unknown customer', async () => {
    expect((await ordersOf(999_999)).status).toBe(404);
  });
});

describe('a body of 11 MB', () => {
  const SIZE = 11 * 1024 * 1024;

  test.each([
    ['F01', 'declared', { 'Content-Length': String(SIZE) }],
    ['F02', 'chunked', { 'Transfer-Encoding': 'chunked' }],
  ])('%s is rejected with 413 when it is %s', async (_id, _how, headers) => {
    const sent = request(`${shop.url}/api/echo`, {
      method: 'POST',
      agent: false,
      headers: { 'Content-Type': 'application/json', ...headers },
    });
    const answer = answerTo(sent);
    const chunk = Buffer.alloc(64 * 1024, 'x');
    for (let written = 0; written < SIZE && !sent.destroyed; written += chunk.length) sent.write(chunk);
    sent.end();
    const { status, type, body } = await answer;
    expect(status).toBe(413);
    expect(type).toContain('application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status: 413 });
  });

  function answerTo(
    sent: ClientRequest,
  ): Promise<{ status: number | undefined; type: string | undefined; body: string }> {
    return new Promise((resolve, reject) => {
      // The server closes the connection after its response, so the rest of the upload fails.
      let answered = false;
      sent.on('error', (error) => {
        if (!answered) reject(error);
      });
      sent.on('response', async (response) => {
        answered = true;
        let body = '';
        for await (const part of response.setEncoding('utf8')) body += part;
        resolve({ status: response.statusCode, type: response.headers['content-type'], body });
      });
    });
  }
});

test('metrics count every request under its route, hits included', async () => {
  const path = '/api/products/77';
  for (let call = 0; call < 3; call++) await get(path);
  const { text } = await get('/metrics');
  const line = text
    .split('\n')
    .find(
      (one) =>
        one.startsWith('http_requests_total{') && one.includes('"/api/products/:id"') && one.includes('GET'),
    );
  expect(Number(line?.split(' ').at(-1))).toBeGreaterThanOrEqual(3);
  expect(text).not.toContain(path);
});

test('serves page files with a long max-age, and the page itself with revalidation', async () => {
  const page = await get('/');
  expect(page.headers.get('cache-control')).toContain('no-cache');
  const assets = [...page.text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path!);
  expect(assets.length).toBeGreaterThanOrEqual(3);
  for (const path of assets) {
    const { status, headers } = await get(path);
    expect({ path, status }).toEqual({ path, status: 200 });
    expect(path).toMatch(/\.[0-9a-f]{10}\./);
    expect(headers.get('cache-control')).toContain('immutable');
  }
  expect((await get('/assets/app.0000000000.js')).headers.get('cache-control') ?? '').not.toContain(
    'immutable',
  );
});
