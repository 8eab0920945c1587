// Run by Jest with --detectOpenHandles: uses each part of hotpath that starts background work, and closes it.
const { once } = require('node:events');
const { gzipSync } = require('node:zlib');
const express = require('express');
const { hotpath } = require(process.env.HOTPATH_PROGRAM);

test('leaves nothing open after close()', async () => {
  const perf = hotpath({ routes: { '/items': { cache: { ttl: '1m', staleWhileRevalidate: '1m' } } } });
  const app = express();
  app.use(perf);
  perf.attach(app);
  app.get('/items', (_req, res) => setTimeout(() => res.json({ text: 'x'.repeat(5000) }), 20));
  app.post('/items', express.json(), (req, res) => res.json(req.body));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/items`;
  const headers = { 'accept-encoding': 'br', connection: 'close' };
  const ask = async () => (await fetch(url, { headers })).json();
  await Promise.all([ask(), ask(), ask()]);
  await ask();
  while (perf.cache.stats().encodings.made === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await perf.cache.expire({ url: '/items' });
  await ask();
  const coded = { 'content-type': 'application/json', 'content-encoding': 'gzip', connection: 'close' };
  const answer = await fetch(url, { method: 'POST', headers: coded, body: gzipSync('{"a":1}') });
  expect(await answer.json()).toEqual({ a: 1 });
  await perf.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
