// A TypeScript project of ES modules; `app.cts` beside it is its CommonJS twin.
import type { AddressInfo } from 'node:net';
import express from 'express';
import { defineConfig, HotpathError, hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';
import { sizeLimit } from 'hotpath/size-limit';
import { timing } from 'hotpath/timing';

const perf = hotpath(
  defineConfig({
    routes: {
      '/': { cache: { ttl: '1m', tags: ['home'] } },
      '/items/:id': { cache: { ttl: '1h', tags: ({ params }) => ['items', `item:${params.id}`] } },
      '/assets/*path': { cacheControl: 'immutable', compression: false },
    },
    sizeLimit: { limit: '10mb' },
  }),
);

// @ts-expect-error an unknown section is a mistake that the compiler sees
defineConfig({ compresion: true });

const app = express();
app.use(perf);
app.get('/', (_req, res) => {
  res.json({ hello: 'x'.repeat(4_000) });
});

const alone = express();
alone.use(timing(), metrics(), sizeLimit(), cacheControl(), compression(), responseCache());

const server = app.listen(0, '127.0.0.1', async () => {
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  const { hello } = (await answer.json()) as { hello: string };
  const problem: unknown = new HotpathError('HOTPATH_ATTACH_INVALID', 'x');
  await perf.close();
  server.close(() => {
    console.log(
      JSON.stringify({
        status: answer.status,
        length: hello.length,
        encoding: answer.headers.get('content-encoding'),
        known: problem instanceof HotpathError && problem.code === 'HOTPATH_ATTACH_INVALID',
      }),
    );
  });
});
