import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { bodyOf } from '../helpers/http.js';
import { program } from '../helpers/program.js';

/** A part of what the OTLP exporters of traces and of metrics send as JSON. */
interface Exported {
  readonly resourceSpans?: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly ({ readonly name: string } & Labelled)[] }[];
  }[];
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics: readonly {
      readonly metrics: readonly {
        readonly name: string;
        readonly histogram?: { readonly dataPoints: readonly ({ readonly count: number } & Labelled)[] };
      }[];
    }[];
  }[];
}

interface Labelled {
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
}

const attribute = ({ attributes }: Labelled, name: string) =>
  attributes.find(({ key }) => key === name)?.value.stringValue;

it('names spans and metrics of OpenTelemetry after their routes, by the example', async () => {
  const exported: Exported[] = [];
  const collector = createServer(async (req, res) => {
    exported.push(JSON.parse((await bodyOf(req)).toString()) as Exported);
    res.setHeader('content-type', 'application/json').end('{}');
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  // The example, where the packages of this folder are found.
  const folder = join(import.meta.dirname, 'node_modules/.hotpath-opentelemetry');
  mkdirSync(folder, { recursive: true });
  for (const name of ['instrument.mjs', 'route-names.mjs'])
    copyFileSync(join(import.meta.dirname, '../../examples/opentelemetry', name), join(folder, name));
  const { execArgv, file } = program('src/hotpath.ts');
  // It ends by itself, after the last spans were sent.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      ...execArgv,
      '--import',
      join(folder, 'instrument.mjs'),
      join(import.meta.dirname, 'programs/opentelemetry.mjs'),
    ],
    {
      env: {
        ...process.env,
        HOTPATH: file,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_METRICS_EXPORTER: 'otlp',
        OTEL_LOGS_EXPORTER: 'none',
      },
    },
  );
  collector.close();
  expect(JSON.parse(stdout)).toMatchObject({ hits: 1 });
  const spans = exported
    .flatMap(({ resourceSpans = [] }) => resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
  const items = ['GET /items/:id', '/items/:id', '/items/7'];
  const ofShop = ['GET /shops/:shop/items/:id', '/shops/:shop/items/:id', '/shops/3/items/7'];
  expect(
    spans.map((span) => [span.name, attribute(span, 'http.route'), attribute(span, 'url.path')]),
  ).toEqual([items, items, ofShop, ofShop]);
  const points = exported
    .flatMap(({ resourceMetrics = [] }) => resourceMetrics)
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
    .filter(({ name }) => name === 'http.server.request.duration')
    .flatMap(({ histogram }) => histogram!.dataPoints);
  const counts: Record<string, number> = {};
  for (const point of points) {
    const route = String(attribute(point, 'http.route'));
    counts[route] = (counts[route] ?? 0) + point.count;
  }
  expect(counts).toEqual({ '/items/:id': 2, '/shops/:shop/items/:id': 2 });
});
