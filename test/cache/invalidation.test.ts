import { describe, expect, it } from 'vitest';
import { responseCache } from '../../src/entries/cache.js';
import { listen, majors } from '../helpers/http.js';

describe.each(majors)('%s: unsafe methods invalidate (RFC 9111 §4.4)', (_name, express) => {
  async function shop() {
    const cache = responseCache({ routes: { '/items{/:id}': { ttl: '1h' } } });
    const runs = new Map<string, number>();
    const app = express();
    app.use(cache);
    app.get('/items', (req, res) => {
      runs.set(req.originalUrl, (runs.get(req.originalUrl) ?? 0) + 1);
      res.json({ run: runs.get(req.originalUrl) });
    });
    app.all('/items', (req, res) => {
      const { status = '200', location, contentLocation } = req.query as Record<string, string>;
      if (location) res.set('Location', location);
      if (contentLocation) res.set('Content-Location', contentLocation);
      res.status(Number(status)).end();
    });
    const server = await listen(app);
    const read = async (path: string) =>
      ((await (await fetch(server.url + path)).json()) as { run: number }).run;
    const send = (method: string, path: string) => fetch(server.url + path, { method });
    return { read, send, server };
  }

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    'A16 a %s that succeeds makes the stored response of its URL unusable',
    async (method) => {
      const { read, send, server } = await shop();
      expect([await read('/items'), await read('/items')]).toEqual([1, 1]);
      await send(method, '/items');
      expect(await read('/items')).toBe(2);
      await server.close();
    },
  );

  it.each([400, 404, 500])('A16 one that ends in %i invalidates nothing', async (status) => {
    const { read, send, server } = await shop();
    await read(`/items?status=${status}`);
    await send('POST', `/items?status=${status}`);
    expect(await read(`/items?status=${status}`)).toBe(1);
    await server.close();
  });

  it.each(['OPTIONS', 'PROPFIND'])('A16 %s is safe and invalidates nothing', async (method) => {
    const { read, send, server } = await shop();
    await read('/items');
    await send(method, '/items');
    expect(await read('/items')).toBe(1);
    await server.close();
  });

  it.each(['location', 'contentLocation'])(
    'A16 what %s names is invalidated, on the same origin only',
    async (name) => {
      const { read, send, server } = await shop();
      await read('/items?page=1');
      await read('/items?page=2');
      await send('POST', `/items?${name}=${encodeURIComponent('/items?page=1')}`);
      await send('POST', `/items?${name}=${encodeURIComponent('http://elsewhere.example/items?page=2')}`);
      expect([await read('/items?page=1'), await read('/items?page=2')]).toEqual([2, 1]);
      await server.close();
    },
  );
});
