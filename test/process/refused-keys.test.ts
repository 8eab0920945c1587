import { Agent, get } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { majors } from '../helpers/http.js';
import { type Measured, startMeasured } from '../helpers/measured.js';

let measured: Measured | undefined;
afterEach(() => measured?.close());

describe.each(majors)('a flood of refused keys, on %s', (major) => {
  it('keeps a few hundred bytes for each, for URLs of any length [B14, B17]', async () => {
    measured = await startMeasured('missing, composed', major);
    const { port } = measured;
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const ask = (path: string) =>
      new Promise<void>((resolve, reject) => {
        get({ port, path, agent }, (res) => res.resume().once('end', resolve)).once('error', reject);
      });
    const flood = (name: string, count: number) =>
      Promise.all(Array.from({ length: count }, (_, i) => ask(`/${name}?${i}${'x'.repeat(15_000)}`)));
    await flood('warm', 200);
    const before = await measured.measure();
    // Kept URLs would take ten times the limit; the heap varies by less than a tenth of it for as many keys.
    const count = 800;
    await flood('flood', count);
    const after = await measured.measure();
    agent.destroy();
    expect(after.calls - before.calls).toBe(count);
    expect((after.used - before.used) / count).toBeLessThan(1500);
  });
});
