// The cost of each content coding for a response, and the size that it comes to: `npm run bench:codings`. zstd needs Node
// 22.15. One thread, the streams and the defaults of compression(); look at the ratios, not at the microseconds.
import { buffer } from 'node:stream/consumers';
import { createEncoder } from '../src/middleware/compression/codings.js';
import { zstdModule } from '../src/runtime/zstd.js';
import { productsOf, SIZES } from './contenders/bodies.mjs';

const EFFORT = { level: 6, brotliQuality: 4, zstdLevel: 3 };
const ROUNDS = 9;
const BODIES = 200;
const codings = ['gzip', 'br', ...(zstdModule ? (['zstd'] as const) : [])] as const;

for (const [name, size] of Object.entries(SIZES)) {
  const body = Buffer.from(JSON.stringify(productsOf(size)));
  const spent = new Map<string, number[]>(codings.map((coding) => [coding, []]));
  const bytes = new Map<string, number>();
  for (let round = 0; round <= ROUNDS; round++) {
    for (const coding of codings) {
      const before = process.cpuUsage();
      for (let at = 0; at < BODIES; at++) {
        const stream = createEncoder(coding, EFFORT);
        stream.end(body);
        bytes.set(coding, (await buffer(stream)).length);
      }
      const { user, system } = process.cpuUsage(before);
      if (round > 0) spent.get(coding)?.push((user + system) / BODIES);
    }
  }
  for (const coding of codings) {
    const median = spent.get(coding)?.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0;
    console.log(`${name} ${coding}: ${bytes.get(coding)} bytes, ${median.toFixed(0)} µs of CPU`);
  }
}
