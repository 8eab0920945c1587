import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { hotpath } from 'hotpath';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hotpath-metrics-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

const box = (limit: string, quota: string, throttled: number) => ({
  'proc/self/cgroup': '0::/\n',
  'cgroup/cgroup.controllers': 'cpu memory\n',
  'cgroup/memory.max': `${limit}\n`,
  'cgroup/memory.current': '104857600\n',
  'cgroup/cpu.max': `${quota}\n`,
  'cgroup/cpu.stat': `nr_periods 100\nnr_throttled ${throttled}\nthrottled_usec ${throttled}500000\n`,
});
const network = (received: number) => ({
  'proc/net/dev': `face |bytes\n  eth0: ${received} 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n`,
});

function instance(registry: Registry, more: object = {}) {
  const perf = hotpath({
    metrics: { registry, defaultMetrics: false },
    telemetry: { procRoot: join(root, 'proc'), cgroupRoot: join(root, 'cgroup'), diskPath: root },
    routes: { '/items/:id': { cache: { ttl: '1h' } } },
    ...more,
  });
  later(perf);
  return perf;
}

/** Samples without labels, by name. */
async function samples(registry: Registry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').map((line) => /^(hotpath_\w+) (\S+)$/.exec(line));
  return Object.fromEntries(
    lines.flatMap((match) => (match ? [[match[1]!, Number(match[2]!.replace('Inf', 'Infinity'))]] : [])),
  );
}

describe('metrics of telemetry', () => {
  it('agree with telemetry: bytes, connections, cache, container and machine', async () => {
    write({ ...box('536870912', '50000 100000', 10), ...network(1000) });
    const registry = new Registry();
    const perf = instance(registry);
    const telemetry = perf.telemetry!;
    const app = express5();
    app.use(perf);
    app.get('/items/:id', (_req, res) => {
      setTimeout(() => res.send('x'.repeat(50_000)), 10);
    });
    const server = await listen(app);
    later(server);
    for (let at = 0; at < 3; at++) await (await fetch(`${server.url}/items/1`)).text();
    await waitFor(() => telemetry.snapshot().requests.active === 0);
    await telemetry.step();
    write({ ...box('536870912', '50000 100000', 25), ...network(5000) });
    await telemetry.step();
    const { requests, cache, process: own, self } = telemetry.snapshot();
    const found = await samples(registry);
    expect(found).toMatchObject({
      hotpath_http_received_bytes_total: requests.receivedBytes,
      hotpath_http_sent_bytes_total: requests.sentBytes,
      hotpath_http_response_body_bytes_total: requests.sinceStart.responseBytes,
      hotpath_http_compression_saved_bytes_total: requests.sinceStart.savedBytes,
      hotpath_http_open_connections: requests.openConnections,
      hotpath_cache_served_bytes_total: 100_000,
      hotpath_eventloop_utilization_ratio: own!.eventLoop.utilization,
      hotpath_process_heap_limit_bytes: own!.heapLimitBytes,
      hotpath_process_memory_limit_bytes: 536_870_912,
      hotpath_container_memory_limit_bytes: 536_870_912,
      hotpath_container_memory_used_bytes: 104_857_600,
      hotpath_container_cpu_quota_cores: 0.5,
      hotpath_container_cpu_periods_total: 100,
      hotpath_container_cpu_throttled_periods_total: 25,
      hotpath_container_cpu_throttled_seconds_total: 25.5,
      hotpath_host_network_received_bytes_total: 5000,
      hotpath_telemetry_routes: self.routes,
      hotpath_telemetry_history_bytes: self.historyBytes,
    });
    expect(found.hotpath_cache_saved_seconds_total).toBeCloseTo(cache.savedSeconds, 9);
    expect(requests.sinceStart.savedBytes).toBeGreaterThan(100_000);
    expect(found).not.toHaveProperty('hotpath_instances'); // no Redis
    expect(found).not.toHaveProperty('hotpath_host_memory_available_bytes'); // no /proc/meminfo
  });

  it('of the machine appear once for two instances with one registry, and never fall', async () => {
    write({ ...box('max', 'max 100000', 0), ...network(1000) });
    const registry = new Registry();
    const telemetry = { procRoot: join(root, 'proc'), cgroupRoot: join(root, 'cgroup') };
    // Instances with the same sources share a reading.
    const [first, second] = [instance(registry), instance(registry, { telemetry })];
    const read = async (...perfs: (typeof first)[]) => {
      for (const { telemetry } of perfs) {
        telemetry!.system();
        await telemetry!.step();
        await waitFor(() => telemetry!.system().host !== null);
      }
      return samples(registry);
    };
    expect((await read(first, second)).hotpath_host_network_received_bytes_total).toBe(1000);
    write(network(3000));
    await first.telemetry!.step();
    // The other has read 1000.
    const found = await samples(registry);
    expect(found.hotpath_host_network_received_bytes_total).toBe(3000);
    expect(found).not.toHaveProperty('hotpath_container_cpu_quota_cores');
    expect(found).not.toHaveProperty('hotpath_container_cpu_periods_total');
    expect(found.hotpath_telemetry_history_bytes).toBe(2 * first.telemetry!.snapshot().self.historyBytes);
    await first.close();
    write(network(200)); // an interface is gone
    await second.telemetry!.step();
    expect((await samples(registry)).hotpath_host_network_received_bytes_total).toBe(3000);
    write(network(4000));
    await second.telemetry!.step();
    expect((await samples(registry)).hotpath_host_network_received_bytes_total).toBe(4000);
  });

  it('exist only with telemetry and metrics, those of the cache only with the cache', async () => {
    const registry = new Registry();
    instance(registry, { telemetry: false });
    expect(await registry.metrics()).not.toMatch(/hotpath_(http|telemetry|host)_/);
    const other = new Registry();
    instance(other, { cache: false, routes: {} });
    const text = await other.metrics();
    expect(text).toContain('hotpath_telemetry_routes 0');
    expect(text).not.toContain('hotpath_cache_');
  });
});
