import { describe, expect, it } from 'vitest';
import { report, runChaos, type Topology, topologies } from '../../../store/redis/chaos.js';
import { seeds, timeoutOf } from '../../../store/redis/chaos-seeds.js';

/** Seeds that once found a fault. */
const known = [73874796, 2100807230, 143423243, 1979379263];

describe.each(Object.keys(topologies) as Topology[])('three instances, topology %s', (topology) => {
  it(
    `serve nothing purged beyond the bound, in ${seeds.length} runs [H08, G04, G36, G37]`,
    async () => {
      console.log(`chaos seeds: ${seeds.join(',')}`);
      const total = { served: 0, shared: 0, voided: 0, filled: 0, acknowledged: 0, queued: 0 };
      for (const seed of [...known, ...seeds]) {
        const outcome = await runChaos(seed, topology);
        expect([...outcome.violations, ...outcome.unhealed], report(outcome)).toEqual([]);
        for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += outcome.tally[name];
      }
      // The model was active.
      for (const count of Object.values(total)) expect(count).toBeGreaterThan(seeds.length);
    },
    timeoutOf(1000),
  );
});

describe('the model of three instances', () => {
  it('fails on each of ten seeds without the position check [H07]', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      expect(
        (await runChaos(seed, 'one', { noCheck: true })).violations.length,
        `seed ${seed}`,
      ).toBeGreaterThan(0);
    }
  });

  it('fails on some of ten seeds with the stamp taken after the handler [H07]', async () => {
    let seed = 1;
    while (seed <= 10 && (await runChaos(seed, 'one', { lateStamp: true })).violations.length === 0) seed++;
    expect(seed).toBeLessThanOrEqual(10);
  });

  it('fails without the continuation check [G37]', async () => {
    let seed = 1;
    while (seed < 100 && (await runChaos(seed, 'two', { noContinuation: true })).violations.length === 0)
      seed++;
    expect(seed).toBeLessThan(100);
  });

  it('replays a seed: the same run twice, step by step', async () => {
    expect(await runChaos(4711)).toEqual(await runChaos(4711));
  });
});
