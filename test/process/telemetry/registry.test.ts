import { spawnSync } from 'node:child_process';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { metrics } from '../../../src/middleware/metrics/middleware.js';
import { isHotpathError } from '../../../src/options/errors.js';
import { program } from '../../helpers/program.js';

describe('the registry of metrics', () => {
  it('is separate for each instance by default [I07]', () => {
    const [a, b] = [metrics({ defaultMetrics: false }), metrics({ defaultMetrics: false })];
    expect(a.registry).not.toBe(b.registry);
  });

  it('can be the registry of the app, shared by many instances, with process metrics [I07]', async () => {
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    for (let i = 0; i < 3; i++) expect(metrics({ registry }).registry).toBe(registry);
    const text = await registry.metrics();
    expect(text.match(/# TYPE http_requests_total counter/g)?.length).toBe(1);
    expect(text.match(/# TYPE process_cpu_user_seconds_total counter/g)?.length).toBe(1);
  });

  it('can be in the OpenMetrics format [I07]', async () => {
    const registry = new Registry();
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    metrics({ registry, defaultMetrics: false });
    expect(await registry.metrics()).toContain('# EOF');
    metrics({ registry, defaultMetrics: false });
    expect((await registry.metrics()).match(/# TYPE http_requests counter/g)?.length).toBe(1);
  });

  it('rejects at creation a registry that holds another metric by one of the names', () => {
    const registry = new Registry();
    new Gauge({ name: 'http_requests_total', help: 'x', labelNames: ['code'], registers: [registry] });
    let error: unknown;
    try {
      metrics({ registry });
    } catch (caught) {
      error = caught;
    }
    expect(isHotpathError(error)).toBe(true);
    expect(error).toMatchObject({
      code: 'HOTPATH_CONFIG_INVALID',
      message: expect.stringMatching(
        /metrics\.registry.*`http_requests_total`, a gauge.*\(code\).*expected.*counter/s,
      ),
    });
  });

  it.each([
    { registry: {} },
    { buckets: [2, 1] },
    { maxSeries: 0 },
    { defaultMetrics: 'yes' },
    { bucket: [1] },
  ])('rejects options %j at creation', (options) => {
    expect(() => metrics(options as never)).toThrow(/metrics/);
  });

  it('keeps no process alive, default metrics included', () => {
    const { execArgv, file } = program('src/middleware/metrics/index.ts');
    const code = `import { metrics } from ${JSON.stringify(file)}; metrics(); console.log('made');`;
    const args = [...execArgv, '--input-type=module', '--eval', code];
    const { stdout, status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 150_000 });
    expect(stdout).toContain('made');
    expect(status).toBe(0);
  });
});
