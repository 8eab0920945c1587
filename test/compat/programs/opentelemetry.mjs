// An app that is instrumented by --import. The front door serves one of its hits, and Express the other.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import express from 'express';

const { hotpath } = await import(process.env.HOTPATH);
const perf = hotpath({ routes: { '/*path': { cache: { ttl: '1h', shared: true } } } });
const app = express();
app.use(perf);
app.get('/items/:id', (_req, res) => void res.send('ok'));
app.use(
  '/shops/:shop',
  express.Router().get('/items/:id', (_req, res) => void res.send('ok')),
);
perf.attach(app);
const server = createServer(app).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address();
// A range keeps the second request of a shop from the front door.
for (const [path, range] of [
  ['/items/7', ''],
  ['/items/7', ''],
  ['/shops/3/items/7', ''],
  ['/shops/3/items/7', 'Range: bytes=0-0\r\n'],
]) {
  await new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: shop.test\r\n${range}Connection: close\r\n\r\n`),
    );
    socket.on('error', reject).on('close', resolve).resume();
  });
}
process.stdout.write(JSON.stringify(perf.cache.stats().frontDoor));
// With nothing left to do, the process ends by itself.
server.close();
await perf.close();
