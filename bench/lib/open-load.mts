// The open-model generator, in its own process. Requests are sent when they are due, and their latency counts
// from then, whether or not earlier responses have arrived (no coordinated omission).
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { OpenLoad, OpenOutput } from '../generator/open-load.mjs';
import { builtFile } from './build.mjs';
import { spawnOn } from './children.mjs';
import { GENERATOR_CORE } from './cores.mjs';
import { sampleOf, type Window, windowOf } from './cpu.mjs';

export type { OpenLoad, OpenOutput } from '../generator/open-load.mjs';

/** Runs the generator. The CPU time of the server covers the whole run, without connecting. */
export async function runOpenLoad(load: OpenLoad, server: number): Promise<OpenOutput & { window: Window }> {
  const child = spawnOn(
    GENERATOR_CORE,
    [process.execPath, builtFile('generator/open-load.mts'), JSON.stringify(load)],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  );
  const gone = once(child, 'exit').then(([code]) => {
    throw new Error(`the generator ended (${code})`);
  });
  gone.catch(() => undefined);
  await Promise.race([once(child, 'message'), gone]);
  await delay(100);
  const [before, begin] = [sampleOf(server), performance.now()];
  child.send('go');
  const [output] = (await Promise.race([once(child, 'message'), gone])) as [OpenOutput];
  const window = windowOf(before, sampleOf(server), (performance.now() - begin) / 1000);
  child.disconnect();
  return { ...output, window };
}
