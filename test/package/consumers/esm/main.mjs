// A project of ES modules: every subpath, one app, one request, and then nothing that keeps the process alive.
import express from 'express';
import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';
import { sizeLimit } from 'hotpath/size-limit';
import { timing } from 'hotpath/timing';

const factories = { responseCache, cacheControl, compression, metrics, sizeLimit, timing };

const app = express();
const perf = hotpath();
app.use(perf);
app.get('/', (_req, res) => res.json({ hello: 'x'.repeat(4_000) }));

const server = app.listen(0, '127.0.0.1', async () => {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
  const { hello } = await answer.json();
  await perf.close();
  server.close(() => {
    const middlewares = Object.values(factories).filter((make) => typeof make() === 'function').length;
    const encoding = answer.headers.get('content-encoding');
    // Timers and streams that would keep the process alive.
    const left = process.getActiveResourcesInfo().filter((name) => /Timeout|Zlib/.test(name));
    console.log(JSON.stringify({ status: answer.status, length: hello.length, encoding, middlewares, left }));
  });
});
