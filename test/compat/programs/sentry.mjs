// An app with Sentry, which is loaded by --import; one request misses the cache, and one hits at the front door.
import { createServer, get } from 'node:http';
import * as Sentry from '@sentry/node';
import express from 'express';

const { hotpath } = await import(process.env.HOTPATH);
const perf = hotpath({ routes: { '/*path': { cache: { ttl: '1h', shared: true } } } });
const app = express();
app.use(perf);
app.get('/items/:id', (_req, res) => void res.send('ok'));
perf.attach(app);
const server = createServer(app).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address();
const headers = { connection: 'close', 'accept-encoding': 'identity' };
for (let at = 0; at < 2; at++) {
  await new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/items/7', headers }, (res) => {
      res.resume().on('end', resolve);
    }).on('error', reject);
  });
}
process.stdout.write(JSON.stringify(perf.cache.stats().frontDoor));
await Sentry.flush(10_000);
server.close();
await perf.close();
process.exit(0);
