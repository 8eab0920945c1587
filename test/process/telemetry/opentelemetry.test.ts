import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const program = join(import.meta.dirname, '../../telemetry/fixtures/opentelemetry.mts');

interface Told {
  readonly spans: readonly { readonly name: string; readonly route?: string; readonly path: string }[];
  readonly metricRoutes: readonly (string | undefined)[];
}

describe('OpenTelemetry with its own packages', () => {
  it('names spans and metrics of hits after their routes, at the front door too', async () => {
    const { stdout } = await run(process.execPath, ['--import', 'tsx', program]);
    const { spans, metricRoutes } = JSON.parse(stdout) as Told;
    expect(spans.map(({ name, route, path }) => [name, route, path])).toEqual([
      ['GET /items/:id', '/items/:id', '/items/7'],
      ['GET /items/:id', '/items/:id', '/items/7'],
      ['GET /inside/:id', '/inside/:id', '/inside/7'],
      ['GET /inside/:id', '/inside/:id', '/inside/7'],
    ]);
    expect([...metricRoutes].sort()).toEqual(['/inside/:id', '/items/:id']);
  });
});
