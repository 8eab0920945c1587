// Profiles a server under a load: `npm run bench:profile [contender] [load]`. It records with Node's profiler
// and prints the functions with the longest self time.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BUILT, buildContenders } from './lib/build.mjs';
import { contenderOf } from './lib/contenders.mjs';
import { checkMachine } from './lib/cores.mjs';
import { makeLoads } from './lib/loads.mjs';
import { measure } from './lib/measure.mjs';
import { type CpuProfile, selfTimes } from './lib/profile.mjs';
import { startRedis } from './lib/redis.mjs';
import { number, table } from './lib/tables.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    top: { type: 'string', default: '40' },
    rate: { type: 'string', default: '2000' },
  },
});
const [contender = 'hotpath', name = 'hit-10kb-identity'] = positionals;

const loads = makeLoads({ isQuick: true });
const load = loads.find(({ id }) => id === name);
if (!load) throw new Error(`there is no load ${name}; there are ${loads.map(({ id }) => id).join(', ')}`);
contenderOf(contender);
checkMachine();
await buildContenders();
const folder = join(BUILT, 'profile');
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const redis = load.hasRedis ? await startRedis() : undefined;
try {
  const result = await measure(
    { ...load, contenders: [contender] },
    {
      rounds: 1,
      seconds: Number(values.seconds),
      warmUp: 2,
      repeats: 0,
      contenders: [contender],
      rate: Number(values.rate),
      nodeArguments: ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir', folder],
      ...(redis ? { redis: redis.url } : {}),
      say: (line) => console.log(line),
    },
  );
  const absent = result.contenders[contender]?.absent;
  if (absent !== undefined) throw new Error(absent);
} finally {
  await redis?.stop();
}

const files = readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'));
if (files.length === 0) throw new Error(`${contender} left no profile: it is no server of Node's`);
const profile: CpuProfile = JSON.parse(readFileSync(join(folder, files[0] as string), 'utf8'));
const { rows, total } = selfTimes(profile, Number(values.seconds) * 1e6);
console.log(
  `${contender} under ${load.id}: self time, of ${number(total / 1000)} ms in which it was not idle`,
);
const shown = rows.slice(0, Number(values.top));
console.log(
  table(
    ['Function', 'Where', 'ms', '%'],
    shown.map((row) => [
      row.name,
      row.where,
      number(row.microseconds / 1000, 1),
      number((100 * row.microseconds) / total, 1),
    ]),
  ),
);
console.log(
  `The profile, for a browser's developer tools: ${join('.tmp', 'bench', 'profile', files[0] as string)}`,
);
