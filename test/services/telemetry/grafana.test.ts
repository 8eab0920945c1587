import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { hotpath } from 'hotpath';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { shopConfig } from '../../../examples/products-api/policies.js';
import { startTestShop, type TestShop } from '../../examples/shop.js';
import { freePort } from '../../helpers/port.js';
import { Prometheus, promtool } from '../../helpers/prometheus.js';
import { RedisServer } from '../../helpers/redis.js';

const root = join(import.meta.dirname, '../../..');
const RULES = join(root, 'observability/prometheus-rules.yml');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: unknown;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly datasource: unknown;
  }[];
}

const text = readFileSync(join(root, 'observability/grafana-dashboard.json'), 'utf8');
const dashboard = JSON.parse(text) as {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] };
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ refId, expr }) => ({ name: `${title} ${refId}`, expr })),
);
const variables = dashboard.templating.list;
const rules = readFileSync(RULES, 'utf8');
const ruleQueries = [...rules.matchAll(/^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/gm)].map(
  ([, block, line]) => ({ name: 'a rule', expr: (block ?? line)! }),
);
const alertNames = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);

/** Names of metrics in a query, with the labels that it uses. */
function metricsIn(expr: string): { name: string; labels: string[] }[] {
  const selectors = expr.matchAll(/(?<![:\w])((?:http|hotpath|nodejs|process)_\w+)\b(?!:)(?:\{([^}]*)\})?/g);
  return [...selectors].map(([, name, matchers = '']) => ({
    name: name!,
    labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!),
  }));
}

/** Labels by which a query groups or joins. */
function groupsIn(expr: string): string[] {
  return [...expr.matchAll(/\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)/g)].flatMap(([, list]) =>
    list!.split(',').flatMap((label) => label.trim() || []),
  );
}

/** Labels that Prometheus adds. */
const OF_THE_SCRAPE = ['job', 'instance'];

/** The metrics of an app with everything on, with their labels. */
async function realMetrics(): Promise<Map<string, Set<string>>> {
  const perf = hotpath({
    loadShedding: true,
    alerts: true,
    cache: { redis: { url: `redis://127.0.0.1:${await freePort()}` } },
  });
  try {
    const registry = perf.metrics.registry!;
    const found = new Map<string, Set<string>>();
    for (const { name, type } of await registry.getMetricsAsJSON()) {
      // Metrics of prom-client itself may have none.
      const { labelNames = [] } = registry.getSingleMetric(name) as unknown as { labelNames?: string[] };
      const isHistogram = String(type) === 'histogram';
      const names = isHistogram ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name];
      for (const each of names) found.set(each, new Set([...labelNames, ...(isHistogram ? ['le'] : [])]));
    }
    return found;
  } finally {
    await perf.close();
  }
}

describe('the dashboard for Grafana', () => {
  it('has unique ids, one data source by a variable, and a unit and a description on each panel', () => {
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(panels.length).toBeGreaterThan(25);
    const source = { type: 'prometheus', uid: '$' + '{datasource}' };
    for (const { title, description, datasource, targets = [], fieldConfig } of panels) {
      expect(datasource, title).toEqual(source);
      expect(targets.length, title).toBeGreaterThan(0);
      for (const target of targets) expect(target.datasource, title).toEqual(source);
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
      expect(fieldConfig?.defaults.unit, title).toMatch(/^(?:reqps|ops|s|percentunit|bytes|Bps|short)$/);
      expect(description?.length, title).toBeGreaterThan(20);
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  it('has no panels that overlap or leave the grid', () => {
    const taken = new Map<string, string>();
    for (const {
      title,
      gridPos: { x, y, w, h },
    } of dashboard.panels) {
      expect(x + w, title).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          const cell = `${column},${line}`;
          expect(taken.get(cell), `${title} at ${cell}`).toBeUndefined();
          taken.set(cell, title);
        }
      }
    }
    const height = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
    expect(taken.size, 'cells without a panel').toBe(24 * height);
  });

  it('uses only variables that it declares, and all of them', () => {
    const declared = variables.map(({ name }) => name);
    const used = new Set(
      [...text.matchAll(/\$\{?([a-z]\w*)\}?/g)].map(([, name]) => name).filter((name) => name !== '__all'),
    );
    expect([...used].sort()).toEqual([...declared].sort());
  });
});

describe.each([
  ['the dashboard', [...queries, ...annotationsAndVariables()]],
  ['the rules', ruleQueries],
])('the queries of %s', (_name, all) => {
  it('name metrics and labels that exist', async () => {
    const real = await realMetrics();
    const found = all.flatMap(({ expr }) => metricsIn(expr));
    expect(found.length).toBeGreaterThan(20);
    const unknown = found.filter(({ name }) => !real.has(name)).map(({ name }) => name);
    expect(unknown).toEqual([]);
    const wrong = found.flatMap(({ name, labels }) =>
      labels
        .filter((label) => !real.get(name)!.has(label) && !OF_THE_SCRAPE.includes(label))
        .map((label) => `${name}{${label}}`),
    );
    expect(wrong).toEqual([]);
    const recorded = all.flatMap(({ expr }) => expr.match(/\b\w+:[\w:]+/g) ?? []);
    expect(recorded.filter((name) => !rules.includes(`- record: ${name}\n`))).toEqual([]);
    const wrongGroups = all.flatMap(({ name, expr }) => {
      const known = metricsIn(expr).flatMap((metric) => [...real.get(metric.name)!]);
      return groupsIn(expr)
        .filter((label) => ![...known, ...OF_THE_SCRAPE].includes(label))
        .map((label) => `${name}: ${label}`);
    });
    expect(wrongGroups).toEqual([]);
  });
});

function annotationsAndVariables() {
  const annotations = dashboard.annotations.list.flatMap(({ expr }) =>
    expr ? [{ name: 'annotation', expr }] : [],
  );
  const ofVariables = variables.flatMap(({ name, definition }) =>
    definition === undefined ? [] : [{ name, expr: definition }],
  );
  return [...annotations, ...ofVariables];
}

/** A query as Grafana sends it when every job, instance and route is chosen. */
function asSent(expr: string): string {
  return expr
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$__interval', '10s')
    .replace(/\$(?:job|instance|path)\b/g, '.*');
}

describe('a Prometheus that scrapes the example', () => {
  let folder: string;
  let redis: RedisServer;
  let shop: TestShop;
  let prometheus: Prometheus;
  let periods = 0;

  /** A container whose CPU quota is used up again and again; all else is that of the machine. */
  function throttle(): void {
    periods += 10;
    write(
      'cgroup/cpu.stat',
      `nr_periods ${periods}\nnr_throttled ${periods / 2}\nthrottled_usec ${periods}\n`,
    );
  }
  function write(path: string, content: string): void {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hotpath-grafana-'));
    write('proc/self/cgroup', '0::/\n');
    for (const name of ['stat', 'meminfo', 'net']) symlinkSync(`/proc/${name}`, join(folder, 'proc', name));
    write('cgroup/cgroup.controllers', 'cpu memory\n');
    write('cgroup/memory.max', 'max\n');
    write('cgroup/memory.current', '104857600\n');
    write('cgroup/cpu.max', '50000 100000\n');
    throttle();
    redis = await RedisServer.start();
    const { cache } = shopConfig;
    shop = await startTestShop({
      config: {
        ...shopConfig,
        cache: { ...(cache as object), redis: { url: redis.url, readTimeout: 5, writeTimeout: 5 } },
        telemetry: { procRoot: join(folder, 'proc'), cgroupRoot: join(folder, 'cgroup') },
        loadShedding: { eventLoopDelay: '10s' },
        alerts: true,
      },
      report: () => {},
    });
    prometheus = await Prometheus.start({ shop: Number(new URL(shop.url).port) }, [RULES]);
  });
  afterAll(async () => {
    await prometheus?.stop();
    await shop?.stop();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Hits, misses, errors of clients and of the server, and a purge. */
  async function sendTraffic(turn: number): Promise<void> {
    const get = async (path: string) => (await fetch(shop.url + path)).text();
    for (const path of ['/api/products', '/api/products', '/api/categories/stats', '/api/nothing'])
      await get(path);
    await get(`/api/search?q=word${turn}`);
    const headers = { authorization: 'Bearer customer-1' };
    for (const path of ['/api/me/orders', '/api/products']) {
      await (await fetch(shop.url + path, { headers })).text();
    }
    const { query } = shop.db;
    shop.db.query = () => Promise.reject(new Error('the database is gone'));
    await get(`/api/products/${turn + 1}`);
    shop.db.query = query;
    await shop.app.perf.cache.purge({ tag: 'products' });
    throttle();
    await shop.app.perf.telemetry!.step();
  }

  it('returns data for every query of the dashboard', async () => {
    let turn = 0;
    const left = new Map(queries.map(({ name, expr }) => [name, asSent(expr)]));
    await vi.waitFor(
      async () => {
        await sendTraffic(turn++);
        for (const [name, expr] of left) {
          const series = await prometheus.query(expr);
          if (series.some(({ value: [, value] }) => Number.isFinite(Number(value)))) left.delete(name);
        }
        expect(Object.fromEntries(left)).toEqual({});
      },
      { timeout: 90_000, interval: 500 },
    );
    for (const label of ['job', 'instance', 'path']) {
      const values = (await prometheus.get(`/api/v1/label/${label}/values`)) as string[];
      expect(values.length, label).toBeGreaterThan(0);
    }
  });

  it('evaluates every rule, and records data', async () => {
    const recorded = [...rules.matchAll(/- record: (\S+)/g)].map(([, name]) => name!);
    await vi.waitFor(
      async () => {
        await sendTraffic(1000);
        const { groups } = (await prometheus.get('/api/v1/rules')) as {
          groups: { rules: { name: string; health: string; lastError?: string }[] }[];
        };
        const states = groups.flatMap((group) => group.rules);
        expect(states.map(({ name }) => name).sort()).toEqual([...recorded, ...alertNames].sort());
        expect(states.filter(({ health }) => health !== 'ok')).toEqual([]);
        for (const name of recorded) {
          const series = await prometheus.query(name);
          expect(
            series.some(({ value: [, value] }) => Number.isFinite(Number(value))),
            name,
          ).toBe(true);
        }
      },
      { timeout: 60_000, interval: 500 },
    );
  });
});

/** For each alert: series that make it fire, and series that must not. Values as `promtool test rules` reads them. */
/** Labels of a series. */
const where = 'job="shop",instance="a"';
const http = (status: string) => `http_requests_total{${where},path="/x",status="${status}"}`;
const durations = (le: string) => `http_request_duration_seconds_bucket{${where},le="${le}"}`;
const results = (result: string) => `hotpath_cache_requests_total{${where},result="${result}"}`;
type Series = Readonly<Record<string, string>>;
const both = (name: string, bad: string, good: string, more: Series = {}): [Series, Series] => [
  { [`${name}{${where}}`]: bad, ...more },
  { [`${name}{${where}}`]: good, ...more },
];
const slow = (fast: string, bound: string): Series => ({
  [durations(bound)]: fast,
  [durations('+Inf')]: '0+100x45',
  [`http_request_duration_seconds_count{${where}}`]: '0+100x45',
  [http('200')]: '0+100x45',
});
const FIRES: Readonly<Record<string, readonly [bad: Series, good: Series, ...more: Series[]]>> = {
  HotpathInstanceDown: [
    { [`up{${where}}`]: '0x45', [`hotpath_telemetry_routes{${where}}`]: '5x20 _x25' },
    { [`up{${where}}`]: '0x45' },
  ],
  HotpathErrorRate: [
    { [http('200')]: '0+90x45', [http('500')]: '0+10x45' },
    { [http('200')]: '0+99x45', [http('500')]: '0+1x45' },
    { [http('500')]: '0+1x45' }, // three requests in three minutes
  ],
  HotpathSlowRequests: [slow('0+95x45', '1'), slow('0+100x45', '1'), slow('0+100x45', '1.0')],
  HotpathLoadShedding: both('hotpath_shed_requests_total', '0+5x45', '5x45'),
  HotpathAlertFiring: both('hotpath_alert_firing', '1x45', '0x45'),
  HotpathHitRatioLow: [
    { [results('hit')]: '0+10x45', [results('miss')]: '0+90x45' },
    { [results('hit')]: '0+90x45', [results('miss')]: '0+10x45' },
    { [results('hit')]: '0+1x45', [results('pass')]: '0+900x45' },
  ],
  HotpathCacheTooSmall: both('hotpath_cache_stores_total', '0+10x45', '0+100x45', {
    [`hotpath_cache_evictions_total{${where},reason="bytes"}`]: '0+5x45',
  }),
  HotpathRedisBreakerOpen: [
    { [`hotpath_cache_redis_breaker_state{${where},lane="reads"}`]: '2x45' },
    { [`hotpath_cache_redis_breaker_state{${where},lane="reads"}`]: '0x45' },
  ],
  HotpathInvalidationLogLost: both('hotpath_cache_log_in_contact', '0x45', '1x45'),
  HotpathPurgesWaiting: both('hotpath_cache_log_queued_records', '3x45', '0x45'),
  HotpathEventLoopBlocked: both('hotpath_eventloop_delay_p99_seconds', '0.3x45', '0.05x45'),
  HotpathHeapNearlyFull: both('nodejs_heap_size_used_bytes', '90x45', '50x45', {
    [`hotpath_process_heap_limit_bytes{${where}}`]: '100x45',
  }),
  HotpathMemoryNearLimit: both('process_resident_memory_bytes', '95x45', '50x45', {
    [`hotpath_process_memory_limit_bytes{${where}}`]: '100x45',
  }),
  HotpathCpuThrottled: both('hotpath_container_cpu_throttled_periods_total', '0+50x45', '0+1x45', {
    [`hotpath_container_cpu_periods_total{${where}}`]: '0+100x45',
  }),
  HotpathDiskNearlyFull: both('hotpath_host_disk_used_bytes', '95x45', '40x45', {
    [`hotpath_host_disk_available_bytes{${where}}`]: '5x45',
  }),
};

describe('the rules for Prometheus', () => {
  it('are accepted by promtool', () => {
    expect(promtool(['check', 'rules', RULES])).toMatchObject({ code: 0 });
  });

  it('fire on bad figures, and on no others', () => {
    expect(Object.keys(FIRES).sort()).toEqual([...alertNames].sort());
    const cases = Object.entries(FIRES).flatMap(([name, all]) =>
      all.map((series, at) => ({ name, job: `${name}-${at}`, series, fires: at === 0 })),
    );
    // Each case is a job of its own in one test: promtool opens a storage, and evaluates all rules, for each test.
    const tests = [
      {
        interval: '1m',
        input_series: cases.flatMap(({ job, series }) =>
          Object.entries(series).map(([key, values]) => ({
            series: key.replace('job="shop"', `job="${job}"`),
            values,
          })),
        ),
        promql_expr_test: cases.map(({ name, job, fires }) => ({
          expr: `count(ALERTS{alertname="${name}",alertstate="firing",job="${job}"}) or vector(0)`,
          eval_time: '42m',
          exp_samples: [{ labels: '{}', value: Number(fires) }],
        })),
      },
    ];
    const folder = mkdtempSync(join(tmpdir(), 'hotpath-rules-'));
    try {
      const file = join(folder, 'tests.yml');
      // JSON is YAML.
      writeFileSync(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests }));
      const { code, lines } = promtool(['test', 'rules', file]);
      expect(code, lines.join('\n')).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('are explained in the documentation, each with a thing to do', () => {
    const page = readFileSync(join(root, 'docs/observability.md'), 'utf8');
    const explained = [...page.matchAll(/^\| `(Hotpath\w+)` \| .+ \| .+ \|$/gm)].map(([, name]) => name);
    expect(explained).toEqual(alertNames);
  });
});
