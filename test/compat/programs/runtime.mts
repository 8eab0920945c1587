// Serves hits in the runtime that runs this program (Bun, Deno) and prints what a client received, as JSON.
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express from 'express';
import { hotpath } from 'hotpath';
import { waitFor } from '../../helpers/http.js';

const text = JSON.stringify({ text: 'é'.repeat(3000) });
const perf = hotpath({
  metrics: { defaultMetrics: false },
  sizeLimit: { limit: 1000 },
  routes: {
    '/items': { cache: { ttl: '1m', shared: true } },
    '/begun': { sizeLimit: { respond: 'next' } },
  },
});
const app = express();
app.use(perf);
if (process.argv[2] === 'attach') perf.attach(app);
app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send(text));
app.post('/items', express.json(), (req, res) => void res.json(req.body));
app.post('/begun', (req, res) => {
  res.write('written before the body was refused, ');
  req
    .on('data', () => {})
    .on('error', ({ status }: Error & { status?: number }) => {
      setTimeout(() => res.end(`written after it: ${status}`), 50);
    });
});

const server = createServer(app);

/** Uploads pieces, but no end, until a text has come. @returns what came. */
function upload(path: string, expected: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    let text = '';
    const done = () => {
      socket.destroy();
      resolve(text);
    };
    socket.on('error', () => {}).on('close', done);
    socket.on('data', (bytes) => {
      text += bytes;
      if (text.includes(expected)) done();
    });
    const fields = 'Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked';
    socket.write(`POST ${path} HTTP/1.1\r\n${fields}\r\n\r\n`);
    socket.write(`3e8\r\n${'x'.repeat(1000)}\r\n`.repeat(2));
  });
}
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
  const chunked = [await upload('/items', '"status"'), await upload('/begun', 'written after it')];
  console.log(JSON.stringify({ results, accepted, refused, chunked, stats: perf.cache.stats().frontDoor }));
  await perf.close();
  process.exit(0);
});
