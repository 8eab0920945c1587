import { Counter, Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Count, registerCounters } from '../../../src/telemetry/callback-counters.js';

const name = 'hotpath_cache_requests_total';

afterEach(() => {
  vi.restoreAllMocks();
});

async function values(registry: Registry): Promise<Record<string, number>> {
  const text = await registry.getSingleMetricAsString(name);
  return Object.fromEntries(
    [...text.matchAll(/result="(\w+)"\} (\d+)/g)].map(([, label, value]) => [label, Number(value)]),
  );
}

/** Counts in another place, like those of a cache. */
function source(counts: Record<string, number>) {
  return () =>
    Object.entries(counts).map(([result, value]): Count<'result'> => ({ labels: { result }, value }));
}
const register = (registry: Registry, collect: () => Iterable<Count<'result'>>) =>
  registerCounters(registry, name, 'Lookups.', ['result'], collect);

describe('registerCounters', () => {
  it('shows the counts at the time of the scrape, zeros included', async () => {
    const registry = new Registry();
    const counts = { hit: 0, miss: 2 };
    register(registry, source(counts));
    expect(await values(registry)).toEqual({ hit: 0, miss: 2 });
    counts.hit = 5;
    counts.miss = 3;
    expect(await values(registry)).toEqual({ hit: 5, miss: 3 });
    expect(await values(registry)).toEqual({ hit: 5, miss: 3 });
    expect(await registry.metrics()).toContain('# TYPE hotpath_cache_requests_total counter');
  });

  it('sums several sources on one registry [I07]', async () => {
    const registry = new Registry();
    const [a, b] = [{ hit: 1 }, { hit: 10 }];
    register(registry, source(a));
    register(registry, source(b));
    expect(await values(registry)).toEqual({ hit: 11 });
    a.hit++;
    b.hit++;
    expect(await values(registry)).toEqual({ hit: 13 });
  });

  it('never falls, neither when a source is removed nor when one restarts', async () => {
    const registry = new Registry();
    const counts = { hit: 5 };
    const release = register(registry, source(counts));
    counts.hit = 7;
    release();
    counts.hit = 100;
    release();
    expect(await values(registry)).toEqual({ hit: 7 });
    const next = { hit: 4 };
    register(registry, source(next));
    expect(await values(registry)).toEqual({ hit: 11 });
    next.hit = 1;
    expect(await values(registry)).toEqual({ hit: 12 });
  });

  it('survives a source that throws, and shows the others', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const registry = new Registry();
    let broken = true;
    register(registry, () => {
      if (broken) throw new Error('expected');
      return source({ hit: 1 })();
    });
    register(registry, source({ miss: 2 }));
    expect(await values(registry)).toEqual({ miss: 2 });
    broken = false;
    expect(await values(registry)).toEqual({ hit: 1, miss: 2 });
  });

  it('reuses a counter of the app of the same kind, and rejects a metric of another kind', async () => {
    const registry = new Registry();
    const own = new Counter({ name, help: 'x', labelNames: ['result'], registers: [registry] });
    own.inc({ result: 'hit' }, 3);
    register(registry, source({ hit: 1 }));
    expect(await values(registry)).toEqual({ hit: 4 });
    const other = new Registry();
    new Counter({ name, help: 'x', labelNames: ['route'], registers: [other] });
    expect(() => register(other, source({}))).toThrow(
      /metrics\.registry.*hotpath_cache_requests_total.*\(route\)/,
    );
  });
});
