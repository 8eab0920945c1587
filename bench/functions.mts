// Measures a hit in the memory of cached functions, beside four other packages: `npm run bench:functions`. The result is
// 50 rows, as of a database. Each contender runs in turns, so that all of them see the same load of the machine. The
// fastest tenth of the turns is compared, because other processes only slow a turn down. Run it on Node 24. The exit code
// is 1 if a limit is exceeded.
import { parseArgs } from 'node:util';
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { Cacheable } from 'cacheable';
import { defineCachedFunction } from 'ocache';
import pMemoize from 'p-memoize';
import { responseCache } from '../src/cache/response-cache.js';
import { cloneValue } from '../src/functions/values/clone.js';
import { makeOwnCopy } from '../src/functions/values/own-copy.js';
import { quantile } from '../test/faults/quantile.js';

const { values } = parseArgs({
  options: { turns: { type: 'string', default: '40' }, calls: { type: 'string', default: '2000' } },
});
const TURNS = Number(values.turns);
const CALLS = Number(values.calls);

/** The cost of a hit may exceed that of p-memoize and one own clone by this factor, for noise. */
const TOLERANCE = 1.1;

interface Row {
  readonly id: number;
  readonly name: string;
  readonly price: number;
  readonly tags: readonly string[];
  readonly created: Date;
  readonly active: boolean;
}

const rows: readonly Row[] = Array.from({ length: 50 }, (_, id) => ({
  id,
  name: `Product ${id}`,
  price: id * 1.5,
  tags: ['new', 'sale'],
  created: new Date(1.7e12 + id),
  active: id % 2 === 0,
}));
const load = async (_category: string) => rows;

const cache = responseCache();
const bento = new BentoCache({
  default: 'memory',
  stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 1000 })) },
});
const cacheable = new Cacheable({ ttl: '1h' });
const memoized = pMemoize(load);
const ocached = defineCachedFunction(load, { maxAge: 3600, name: 'rows', getKey: (category) => category });
const clone = cache.cached(load, { name: 'clone', ttl: '1h' });
const freeze = cache.cached(
  async (category: string) => (await load(category)).map(({ created: _, ...row }) => row),
  {
    name: 'freeze',
    ttl: '1h',
    isolate: 'freeze',
  },
);
const none = cache.cached(load, { name: 'none', ttl: '1h', isolate: 'none' });

const stored = makeOwnCopy(rows, Number.POSITIVE_INFINITY).value;

const cloneStored = () => cloneValue(stored, true);

/** Each returns the result of a call. */
const contenders: Readonly<Record<string, () => unknown>> = {
  "hotpath, isolate: 'clone'": () => clone('shoes'),
  "hotpath, isolate: 'freeze'": () => freeze('shoes'),
  "hotpath, isolate: 'none'": () => none('shoes'),
  'own clone alone': cloneStored,
  'structuredClone alone': () => structuredClone(rows),
  'p-memoize': () => memoized('shoes'),
  // The bound of a hit with `clone`. In one call, so that the garbage of both parts comes together, as in a hit.
  'p-memoize and own clone': () => memoized('shoes').then(cloneStored),
  ocache: () => ocached('shoes'),
  cacheable: () => cacheable.getOrSet('shoes', () => load('shoes')),
  bentocache: () => bento.getOrSet({ key: 'shoes', ttl: '1h', factory: () => load('shoes') }),
};

const times = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]));
const entries = Object.entries(contenders);
for (let turn = -3; turn < TURNS; turn++) {
  // In another order each time: the garbage of one contender slows the next one down.
  const order = entries.map((entry) => ({ entry, at: Math.random() })).sort((a, b) => a.at - b.at);
  for (const { entry } of order) {
    const [name, call] = entry;
    const started = performance.now();
    for (let n = 0; n < CALLS; n++) await call();
    // The first turns compile the code.
    if (turn >= 0) times.get(name)!.push(((performance.now() - started) * 1000) / CALLS);
  }
}

const timeOf = (name: string) => quantile(times.get(name)!, 0.1);
const base = timeOf('p-memoize');
console.log(`${process.version}: a hit with 50 rows, the fastest tenth of ${TURNS} turns of ${CALLS} calls`);
for (const [name, call] of entries) {
  const result = (await call()) as readonly Row[];
  const isShared = result === (await call());
  const isDate = (result[0]?.created as unknown) instanceof Date;
  const notes = [
    isShared ? 'shared' : 'isolated',
    isDate || name.includes('freeze') ? '' : 'dates are texts',
  ];
  const ratio = `${(timeOf(name) / base).toFixed(1)} x p-memoize`;
  console.log(
    `${name.padEnd(28)}${timeOf(name).toFixed(2).padStart(8)} µs ${ratio.padStart(20)}  ${notes.join(' ')}`,
  );
}
const hit = timeOf("hotpath, isolate: 'clone'");
const isWithin = hit <= timeOf('p-memoize and own clone') * TOLERANCE && hit < timeOf('bentocache');
console.log(isWithin ? 'within the bounds' : 'a bound is broken');
process.exitCode = isWithin ? 0 : 1;
await cache.close();
await bento.disconnectAll();
