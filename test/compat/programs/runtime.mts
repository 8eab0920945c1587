// Serves hits in the runtime that runs this program (Bun, Deno) and prints what a client received, as JSON.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { hotpath } from 'hotpath';
import { waitFor } from '../../helpers/http.js';

const text = JSON.stringify({ text: 'é'.repeat(3000) });
const perf = hotpath({
  metrics: { defaultMetrics: false },
  sizeLimit: { limit: 1000 },
  routes: { '/items': { cache: { ttl: '1m', shared: true } } },
});
const app = express();
app.use(perf);
if (process.argv[2] === 'attach') perf.attach(app);
app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send(text));
app.post('/items', express.json(), (req, res) => void res.json(req.body));

const server = createServer(app);
server.listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/items`;
  const results: object[] = [];
  const ask = async (headers: Record<string, string>) => {
    const res = await fetch(url, { headers });
    const { status, headers: fields } = res;
    results.push({ status, isWhole: (await res.text()) === text, headers: Object.fromEntries(fields) });
  };
  await ask({ 'accept-encoding': 'identity' });
  await ask({ 'accept-encoding': 'identity' });
  await ask({ 'accept-encoding': 'gzip' });
  await waitFor(() => perf.cache.stats().encodings.made > 0, 10_000);
  await ask({ 'accept-encoding': 'gzip' });
  const post = async (body: string, headers = {}) => {
    const sent = { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } };
    const res = await fetch(url, sent);
    return [res.status, await res.text()];
  };
  const accepted = await post('{"a":1}');
  const [refused] = await post(JSON.stringify(text));
  console.log(JSON.stringify({ results, accepted, refused, stats: perf.cache.stats().frontDoor }));
  await perf.close();
  process.exit(0);
});
