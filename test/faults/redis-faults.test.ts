import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Child, startChild } from '../process/child.js';
import type { Outcome } from './load.js';
import { quantile } from './quantile.js';
import { PASSWORD, runScenario, scenarios } from './scenarios.js';

let control: Child;
beforeAll(async () => {
  control = await startChild('instance', { NAME: 'control' });
});
afterAll(() => void control.process.kill('SIGKILL'));

const faultsOf = (outcomes: readonly Outcome[]) => outcomes.filter(({ fault }) => fault !== undefined);
const ninetieth = (outcomes: readonly Outcome[]) =>
  quantile(
    outcomes.map(({ latency }) => latency),
    0.9,
  );

// How much longer exactly, `npm run faults` measures: here the machine may be busy with other things.
it.each(scenarios)(
  'with Redis $name, no answer is an error, wrong or hangs, and it is used again afterwards without a restart',
  async (scenario) => {
    const result = await runScenario(scenario, { rate: 80, seconds: 1.5, lead: 0.3, control });
    expect(faultsOf(result.all)).toEqual([]);
    // Whoever waits for the end of the fault waits for most of its 1.5 s; the deadline is 0.05 s.
    expect(ninetieth(result.during) - ninetieth(result.control)).toBeLessThan(500);
    expect(result.recovery).toBeDefined();
    // K14, on the consoles of real processes.
    expect(result.output).not.toContain(PASSWORD);
    expect(result.output.split('\n').length).toBeLessThan(60);
  },
);
