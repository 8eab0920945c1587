import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisMajors } from '../../../helpers/redis.js';
import { report, type Topology, topologies } from '../../../store/redis/chaos.js';
import { runRealChaos, Site } from '../../../store/redis/chaos-real.js';
import { seeds, timeoutOf } from '../../../store/redis/chaos-seeds.js';

/** Concurrent runs on separate servers: each mostly waits. */
const SITES = 4;

const sites: Site[] = [];
beforeAll(async () => {
  console.log(`chaos seeds: ${seeds.join(',')}`);
  for (let i = 0; i < Math.min(SITES, seeds.length); i++) sites.push(await Site.start());
});
afterAll(() => Promise.all(sites.map((site) => site.stop())));

describe.each(Object.keys(topologies) as Topology[])(
  'three instances on real servers, topology %s',
  (topology) => {
    it(
      `serve nothing purged beyond the bound, in ${seeds.length} runs [H08, G04, G37]`,
      async () => {
        const total = { served: 0, filled: 0, acknowledged: 0 };
        const runs = seeds.entries();
        const work = async (site: Site) => {
          for (const [i, seed] of runs) {
            const [name, module] = redisMajors[i % redisMajors.length]!;
            const outcome = await runRealChaos(site, seed, topology, module);
            expect([...outcome.violations, ...outcome.unhealed], `${name}: ${report(outcome)}`).toEqual([]);
            for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += outcome.tally[key];
          }
        };
        await Promise.all(sites.map(work));
        for (const count of Object.values(total)) expect(count).toBeGreaterThan(seeds.length);
      },
      timeoutOf(4000),
    );
  },
);
