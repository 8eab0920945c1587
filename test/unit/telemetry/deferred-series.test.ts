import { Counter, Gauge, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { beforeRead, DeferredSeries } from '../../../src/telemetry/deferred-series.js';

describe('counts shown when they are read', () => {
  it('shows zero as well, and counts each increment once', async () => {
    const registers = [new Registry()];
    const counter = new Counter({ name: 'c', help: 'c', labelNames: ['a'], registers });
    const gauge = new Gauge({ name: 'g', help: 'g', labelNames: ['a'], registers });
    const counted = new DeferredSeries(counter.labels('x'));
    const present = new DeferredSeries(gauge.labels('x'));
    beforeRead(counter, () => counted.show());
    beforeRead(gauge, () => present.show());
    const values = async () => [(await counter.get()).values[0]?.value, (await gauge.get()).values[0]?.value];
    expect(await values()).toEqual([0, 0]);
    counted.value += 3;
    present.value += 2;
    expect(await values()).toEqual([3, 2]);
    present.value--;
    expect(await values()).toEqual([3, 1]);
    expect(await values()).toEqual([3, 1]);
  });

  it('keeps values that others add to the same metric [I07]', async () => {
    const counter = new Counter({ name: 'c', help: 'c', labelNames: ['a'], registers: [] });
    const [one, other] = [new DeferredSeries(counter.labels('x')), new DeferredSeries(counter.labels('x'))];
    beforeRead(counter, () => one.show());
    beforeRead(counter, () => other.show());
    one.value = 2;
    other.value = 5;
    expect((await counter.get()).values[0]?.value).toBe(7);
  });
});
