// A custom server of Next.js behind Express and hotpath; prints what a client received, as JSON.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import express from 'express';
import { hotpath } from 'hotpath';

const [dir] = process.argv.slice(2);
// The built program lies outside the folder whose packages contain Next.js.
const next = createRequire(`${dir}/`)('next');
const site = next({ dev: true, dir });
await site.prepare();
const perf = hotpath({ metrics: { defaultMetrics: false } });
const app = express();
app.use(perf);
const handle = site.getRequestHandler();
app.use((req, res) => handle(req, res));
const server = createServer(app).listen(0, '127.0.0.1', async () => {
  const results = [];
  for (let i = 0; i < 2; i++) {
    const url = `http://127.0.0.1:${server.address().port}/api`;
    const res = await fetch(url, { headers: { 'accept-encoding': 'gzip' } });
    results.push({ headers: Object.fromEntries(res.headers), length: (await res.text()).length });
  }
  console.log(JSON.stringify(results));
  process.exit(0);
});
