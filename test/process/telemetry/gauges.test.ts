import { Gauge, Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Combine, type Level, registerGauges } from '../../../src/telemetry/callback-gauges.js';

const name = 'hotpath_cache_redis_breaker_state';

afterEach(() => {
  vi.restoreAllMocks();
});

async function values(registry: Registry): Promise<Record<string, number>> {
  const text = await registry.getSingleMetricAsString(name);
  return Object.fromEntries(
    [...text.matchAll(/lane="(\w+)"\} (\d+)/g)].map(([, label, value]) => [label, Number(value)]),
  );
}

function source(levels: Record<string, number>) {
  return () => Object.entries(levels).map(([lane, value]): Level<'lane'> => ({ labels: { lane }, value }));
}
const register = (registry: Registry, collect: () => Iterable<Level<'lane'>>, combine?: Combine) =>
  registerGauges(registry, name, 'State.', ['lane'], collect, combine);

describe('registerGauges', () => {
  it('shows the values at the time of the scrape, up and down', async () => {
    const registry = new Registry();
    const levels: Record<string, number> = { reads: 2, writes: 0 };
    register(registry, source(levels));
    expect(await values(registry)).toEqual({ reads: 2, writes: 0 });
    levels.reads = 1;
    expect(await values(registry)).toEqual({ reads: 1, writes: 0 });
    delete levels.reads;
    expect(await values(registry)).toEqual({ writes: 0 });
    expect(await registry.metrics()).toContain(`# TYPE ${name} gauge`);
  });

  it.each([
    [undefined, { reads: 3, writes: 2 }],
    ['max', { reads: 2, writes: 2 }],
    ['min', { reads: 1, writes: 2 }],
  ] as const)(
    'combines several sources on one registry (%s), and removes them [I07]',
    async (combine, both) => {
      const registry = new Registry();
      register(registry, source({ reads: 1 }), combine);
      const release = register(registry, source({ reads: 2, writes: 2 }), combine);
      expect(await values(registry)).toEqual(both);
      release();
      release();
      expect(await values(registry)).toEqual({ reads: 1 });
    },
  );

  it('survives a source that throws, and shows the others', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const registry = new Registry();
    register(registry, () => {
      throw new Error('expected');
    });
    register(registry, source({ reads: 1 }));
    expect(await values(registry)).toEqual({ reads: 1 });
    expect(process.emitWarning).toHaveBeenCalled();
  });

  it('rejects a metric of another kind with the same name', () => {
    const registry = new Registry();
    new Gauge({ name, help: 'x', labelNames: ['route'], registers: [registry] });
    expect(() => register(registry, source({}))).toThrow(/metrics\.registry.*\(route\)/);
  });
});
