import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { bodyOf } from '../helpers/http.js';
import { program } from '../helpers/program.js';

interface SentSpan {
  readonly name: string;
  readonly is_segment: boolean;
  readonly attributes: Readonly<Record<string, { readonly value: unknown } | undefined>>;
}

it('names spans of Sentry after their routes, at the front door too', async () => {
  const lines: string[] = [];
  const collector = createServer(async (req, res) => {
    const body = await bodyOf(req);
    const isZipped = req.headers['content-encoding'] === 'gzip';
    lines.push(...(isZipped ? gunzipSync(body) : body).toString().split('\n'));
    res.end('{}');
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  // The example, where the packages of this folder are found.
  const folder = join(import.meta.dirname, 'node_modules/.hotpath-sentry');
  mkdirSync(folder, { recursive: true });
  const instrument = join(folder, 'instrument.mjs');
  copyFileSync(join(import.meta.dirname, '../../examples/sentry/instrument.mjs'), instrument);
  const { execArgv, file } = program('src/hotpath.ts');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...execArgv, '--import', instrument, join(import.meta.dirname, 'programs/sentry.mjs')],
    { env: { ...process.env, SENTRY_DSN: `http://key@127.0.0.1:${port}/1`, HOTPATH: file } },
  );
  collector.close();
  expect(JSON.parse(stdout)).toMatchObject({ hits: 1 });
  const spans = lines
    .filter((line) => line.startsWith('{"version":2,"items"'))
    .flatMap((line) => (JSON.parse(line) as { items: SentSpan[] }).items)
    .filter(
      ({ is_segment: isSegment, attributes }) => isSegment && attributes['sentry.kind']?.value === 'server',
    );
  expect(
    spans
      .map(({ name, attributes }) => [
        name,
        attributes['http.route']?.value,
        attributes['cache.result']?.value,
      ])
      .sort(),
  ).toEqual([
    ['GET /items/:id', '/items/:id', 'HIT'],
    ['GET /items/:id', '/items/:id', 'MISS'],
  ]);
});
