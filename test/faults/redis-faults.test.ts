import { expect, it } from 'vitest';
import type { Outcome } from './load.js';
import { PASSWORD, runScenario, scenarios } from './scenarios.js';

const faultsOf = (outcomes: readonly Outcome[]) => outcomes.filter(({ fault }) => fault !== undefined);

it.each(scenarios)(
  'with Redis $name, no answer is an error, wrong or hangs, and it is used again afterwards without a restart',
  async (scenario) => {
    const result = await runScenario(scenario, { rate: 100, seconds: 1, lead: 0.3 });
    expect(faultsOf(result.all)).toEqual([]);
    expect(result.during.length).toBeGreaterThan(0);
    expect(result.recovery).toBeDefined();
    // K14, on the consoles of real processes.
    expect(result.output).not.toContain(PASSWORD);
    expect(result.output.split('\n').length).toBeLessThan(60);
  },
);
