import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import express from 'express';
import { compression } from 'hotpath/compression';
import { afterAll, expect, it } from 'vitest';
import { listen } from '../helpers/http.js';
import { program } from '../helpers/program.js';

const dir = fileURLToPath(new URL('next-app', import.meta.url));
afterAll(() => rmSync(join(dir, '.next'), { recursive: true, force: true }));

it('compresses and caches what a custom server of Next.js 15 sends', async () => {
  const { execArgv, file } = program('test/compat/programs/next.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, file, dir], {
    env: { ...process.env, NODE_ENV: 'development', NEXT_TELEMETRY_DISABLED: '1' },
  });
  const [miss, hit] = JSON.parse(stdout.trim().split('\n').at(-1)!);
  expect([miss.headers['x-cache'], hit.headers['x-cache']]).toEqual(['MISS', 'HIT']);
  for (const { headers, length } of [miss, hit]) {
    expect([headers['content-encoding'], headers.etag, length]).toEqual(['gzip', 'W/"v1--gzip"', 5011]);
  }
});

it('reads a header that is a list of one value like a text', async () => {
  const app = express();
  app.use(compression());
  app.get('/:name/:value', ({ params: { name, value } }, res) => {
    res.setHeader('Content-Type', ['text/plain']);
    res.setHeader(name, [value]);
    res.setHeader('Set-Cookie', ['a=1']);
    res.end('x'.repeat(5000));
  });
  const { url, server, close } = await listen(app);
  const sent: unknown[] = [];
  server.on(
    'request',
    (_req, res) => void once(res, 'finish').then(() => sent.push(res.getHeader('set-cookie'))),
  );
  const ask = async (path: string) =>
    (await fetch(url + path, { headers: { 'accept-encoding': 'gzip' } })).headers;
  expect((await ask('/etag/%22v1%22')).get('etag')).toBe('W/"v1--gzip"');
  expect((await ask('/content-encoding/identity')).get('content-encoding')).toBe('gzip');
  expect((await ask('/cache-control/no-transform')).get('content-encoding')).toBeNull();
  await close();
  expect(sent).toEqual(Array(3).fill(['a=1']));
});
