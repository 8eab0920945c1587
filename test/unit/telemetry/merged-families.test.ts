import { describe, expect, it } from 'vitest';
import type { Family } from '../../../src/telemetry/exposition/families.js';
import { MergedFamilies } from '../../../src/telemetry/workers/merged-families.js';
import { makeAnswer, readWrittenFamily } from '../../../src/telemetry/workers/messages.js';

const family = (aggregator: string, value: number, more: Partial<Family> = {}): Family => ({
  name: 'm',
  help: 'm',
  type: 'gauge',
  aggregator,
  samples: [{ name: 'm', labels: '{a="1"}', value }],
  ...more,
});

/** As another process gets them. */
const sent = (families: readonly Family[]) =>
  (JSON.parse(JSON.stringify(makeAnswer(1, families))) as ReturnType<typeof makeAnswer>).families!.map(
    readWrittenFamily,
  );

describe('metrics of several processes', () => {
  it.each([
    ['sum', 6],
    ['max', 3],
    ['min', 1],
    ['average', 2],
    ['first', 3],
    ['omit', undefined],
  ])('are combined by the aggregator of the metric: %s', (aggregator, value) => {
    const merged = new MergedFamilies();
    for (const each of [3, 1, 2]) for (const one of sent([family(aggregator, each)])) merged.add(one);
    expect(merged.list()[0]?.samples[0]?.value).toBe(value);
  });

  it('keep infinity and label sets of one process alone, and the latest exemplar', () => {
    const merged = new MergedFamilies();
    const exemplar = (timestamp: number) => ({
      labels: { trace_id: String(timestamp) },
      value: 1,
      timestamp,
    });
    const samples = (label: string, value: number, timestamp: number) => [
      { name: 'm', labels: `{a="${label}"}`, value, exemplar: exemplar(timestamp) },
    ];
    for (const one of sent([
      family('max', 0, { samples: samples('1', Number.POSITIVE_INFINITY, 2) }),
      family('max', 0, { samples: samples('1', 5, 1) }),
      family('max', 0, { samples: samples('2', 7, 3) }),
    ]))
      merged.add(one);
    expect(merged.list()[0]!.samples).toEqual([
      { name: 'm', labels: '{a="1"}', value: Number.POSITIVE_INFINITY, exemplar: exemplar(2) },
      { name: 'm', labels: '{a="2"}', value: 7, exemplar: exemplar(3) },
    ]);
  });

  it('have no quantiles of summaries, which cannot be added, and at most the given samples', () => {
    const merged = new MergedFamilies(2);
    const samples = ['{quantile="0.5"}', '{a="1"}', '{a="2"}', '{a="3"}'].map((labels) => ({
      name: 's',
      labels,
      value: 1,
    }));
    merged.add(family('sum', 0, { type: 'summary', samples }));
    expect(merged.list()[0]!.samples.map(({ labels }) => labels)).toEqual(['{a="1"}', '{a="2"}']);
  });
});
