import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry, Summary } from 'prom-client';
import { describe, expect, it, vi } from 'vitest';
import { readFamilies } from '../../../src/telemetry/exposition/families.js';
import { chooseFormat } from '../../../src/telemetry/exposition/negotiate.js';
import { writeFamilies } from '../../../src/telemetry/exposition/write.js';
import { RouteHistogram } from '../../../src/telemetry/route-histogram.js';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

/** A registry with every kind of metric and label. */
function fullRegistry(): Registry {
  const registry = new Registry();
  const registers = [registry];
  registry.setDefaultLabels({ service: 'shop', zone: 'a"b' });
  const total = new Counter({ name: 'a_total', help: 'a\\b\n"c"', labelNames: ['x'], registers });
  total.inc({ x: 'quote " slash \\ line \n' }, 3);
  total.inc({ x: ',le="5' }, 1);
  new Counter({ name: 'plain', help: 'p', registers }).inc(2);
  const gauge = new Gauge({ name: 'g', help: 'g', labelNames: ['zone'], registers });
  for (const value of [Number.NaN, Infinity, -Infinity, 1e21, -0.5])
    gauge.set({ zone: String(value) }, value);
  const summary = new Summary({ name: 's', help: 's', percentiles: [0.5, 1], labelNames: ['x'], registers });
  summary.observe({ x: '1' }, 4);
  const buckets = [0.00001, 0.5, 1, 1_048_576];
  const histogram = new Histogram({ name: 'h', help: 'h', labelNames: ['path', 'zone'], buckets, registers });
  histogram.observe({ path: 'theirs', zone: 'z' }, 2);
  const routes = new RouteHistogram(histogram);
  routes.labels(['/a,le="1"', 'z'], undefined).observe(0.7, { traceId, spanId: '00f067aa0ba902b7' });
  routes.labels(['/b', 'z'], [1, 5]).observe(3, { traceId });
  routes.labels(['/b', 'z'], [1, 5]).observe(9);
  new Gauge({ name: 'empty', help: 'no samples', labelNames: ['x'], registers });
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1000 });
  return registry;
}

/** Without the metrics that change from reading to reading. */
const stable = (text: string) =>
  text
    .split('\n')
    .filter((line) => !/^(# \w+ )?(process|nodejs)_/.test(line) || line.startsWith('#'))
    .join('\n');

const textOf = async (registry: Registry) => writeFamilies(await readFamilies(registry), 'text');
const openOf = async (registry: Registry) => writeFamilies(await readFamilies(registry), 'openmetrics');

describe('the exposition of metrics', () => {
  it('is in text what prom-client writes, byte for byte, before and after OpenMetrics', async () => {
    const registry = fullRegistry();
    const before = stable(await registry.metrics());
    expect(stable(await textOf(registry))).toBe(before);
    await openOf(registry);
    expect(stable(await textOf(registry))).toBe(before);
    expect(stable(await registry.metrics())).toBe(before);
    expect(before).toContain('# TYPE a_total counter');
  });

  it('keeps the names of counters that a registry in the OpenMetrics format has cut', async () => {
    const registry = fullRegistry();
    const before = stable(await textOf(registry));
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    await registry.metrics();
    expect(stable(await textOf(registry))).toBe(before);
  });

  it('is in OpenMetrics as the specification has it', async () => {
    const registry = fullRegistry();
    const lines = (await openOf(registry)).split('\n');
    for (const line of [
      '# HELP a a\\\\b\\n\\"c\\"',
      '# TYPE a counter',
      'a_total{x="quote \\" slash \\\\ line \\n",service="shop",zone="a\\"b"} 3',
      'a_total{x=",le=\\"5",service="shop",zone="a\\"b"} 1',
      'plain_total{service="shop",zone="a\\"b"} 2',
      'g{zone="NaN",service="shop"} NaN',
      'g{zone="Infinity",service="shop"} +Inf',
      's{quantile="1.0",x="1",service="shop",zone="a\\"b"} 4',
      'h_bucket{le="1e-05",service="shop",path="theirs",zone="z"} 0',
      'h_bucket{le="1.048576e+06",service="shop",path="theirs",zone="z"} 1',
      'h_bucket{le="+Inf",service="shop",path="theirs",zone="z"} 1',
      '# TYPE empty gauge',
    ])
      expect(lines, line).toContain(line);
    const exemplars = lines.filter((line) => line.includes(' # {'));
    expect(exemplars.map((line) => line.replace(/ \d{10}(\.\d+)?$/, ' AT'))).toEqual([
      `h_bucket{le="1.0",service="shop",path="/a,le=\\"1\\"",zone="z"} 1 # {trace_id="${traceId}",span_id="00f067aa0ba902b7"} 0.7 AT`,
      `h_bucket{le="5.0",service="shop",path="/b",zone="z"} 1 # {trace_id="${traceId}"} 3 AT`,
    ]);
    expect(lines.slice(-2)).toEqual(['# EOF', '']);
    expect(lines.filter((line) => line === '')).toHaveLength(1);
    expect(await openOf(new Registry())).toBe('# EOF\n');
  });

  it('counts each observation once, in cumulative buckets, and from zero after a reset', async () => {
    const registers = [new Registry()];
    const histogram = new Histogram({ name: 'h', help: 'h', labelNames: ['a'], buckets: [1, 2], registers });
    // Two copies of the package with one registry.
    const [one, other] = [new RouteHistogram(histogram), new RouteHistogram(histogram)];
    for (const value of [0, 1, 1.5, 2, 99]) {
      one.labels(['x'], undefined).observe(value);
      other.labels(['x'], undefined).observe(value);
    }
    const values = async () =>
      (await histogram.get()).values.map(({ metricName, labels, value }) => [
        metricName,
        (labels as { le?: unknown }).le,
        labels.a,
        value,
      ]);
    const expected = (counts: readonly number[]) => [
      ['h_bucket', 1, 'x', counts[0]],
      ['h_bucket', 2, 'x', counts[1]],
      ['h_bucket', '+Inf', 'x', counts[2]],
      ['h_sum', undefined, 'x', counts[3]],
      ['h_count', undefined, 'x', counts[2]],
    ];
    expect(await values()).toEqual(expected([4, 8, 10, 207]));
    registers[0]!.resetMetrics();
    expect(await values()).toEqual(expected([0, 0, 0, 0]));
  });

  it.each([
    [40, 53, true],
    [40, 54, false],
  ])('shows exemplars of at most 128 characters: %i and %i', async (first, second, isShown) => {
    // Names and values count: 40 + 53 + 1 + 34 = 128.
    const counter = {
      labels: { [`n${'a'.repeat(33)}`]: 'é'.repeat(first), b: 'x'.repeat(second) },
      value: 1,
    };
    const sample = { name: 'c_total', labels: '', value: 1, exemplar: counter };
    const family = { name: 'c_total', help: '', type: 'counter', aggregator: 'sum', samples: [sample] };
    expect((await writeFamilies([family], 'openmetrics')).includes('# {')).toBe(isShown);
  });

  it('leaves out a metric whose `collect` does not settle, and reports it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      const registry = new Registry();
      const registers = [registry];
      const collect = () => new Promise<void>(() => {});
      new Gauge({ name: 'hanging', help: 'h', registers, collect });
      new Gauge({ name: 'g', help: 'g', registers }).set(7);
      const text = textOf(registry);
      await vi.advanceTimersByTimeAsync(5000);
      expect(await text).toBe('# HELP g g\n# TYPE g gauge\ng 7\n');
      expect(String(warn.mock.calls[0]?.[0])).toContain('metrics failed');
    } finally {
      vi.useRealTimers();
      warn.mockRestore();
    }
  });

  it('lets others use the event loop while it writes many lines', async () => {
    const registry = new Registry();
    const gauge = new Gauge({ name: 'g', help: 'g', labelNames: ['x'], registers: [registry] });
    for (let at = 0; at < 30_000; at++) gauge.set({ x: String(at) }, at);
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    const text = await textOf(registry);
    clearImmediate(timer);
    expect(text.split('\n')).toHaveLength(30_003);
    expect(turns).toBeGreaterThan(2);
  });
});

describe('the format of a scrape', () => {
  const prometheus2 =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const prometheus3 =
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2';
  it.each<[accept: string | undefined, format: string]>([
    [prometheus2, 'openmetrics'],
    [prometheus3, 'openmetrics'],
    [
      `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.9,${prometheus3}`,
      'openmetrics',
    ],
    [undefined, 'text'],
    ['', 'text'],
    ['*/*', 'text'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', 'text'],
    ['application/openmetrics-text', 'openmetrics'],
    ['APPLICATION/OpenMetrics-Text ; VERSION="1.0.0"', 'openmetrics'],
    ['application/openmetrics-text; version=0.0.1', 'text'],
    ['application/openmetrics-text; version=2.0.0, */*', 'text'],
    [
      'application/openmetrics-text; version=2.0.0, application/openmetrics-text; version=1.0.0; q=0.1',
      'openmetrics',
    ],
    ['application/openmetrics-text; q=0', 'text'],
    ['application/openmetrics-text; q=0.4, text/plain; q=0.5', 'text'],
    ['application/openmetrics-text; q=0.5, text/plain; q=0.5', 'openmetrics'],
    ['text/plain, application/openmetrics-text', 'openmetrics'],
    ['text/plain;version=1.0.0, application/openmetrics-text;q=0.2', 'openmetrics'],
    ['application/openmetrics-text;q=0.2, text/*;q=0.3', 'text'],
    ['application/*', 'openmetrics'],
    ['application/*, text/plain;q=0.1', 'text'],
    ['application/openmetrics-text;q=0, application/*', 'text'],
    ['application/openmetrics-text;q=2', 'text'],
    ['application/openmetrics-text;q=0.1234', 'text'],
    [',,;;,=, application/openmetrics-text', 'openmetrics'],
    [`${'a/b,'.repeat(100)}application/openmetrics-text`, 'text'],
  ])('is chosen by Accept: %s', (accept, format) => {
    expect(chooseFormat(accept)).toBe(format);
  });
});
