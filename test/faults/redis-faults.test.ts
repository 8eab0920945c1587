import { expect, it } from 'vitest';
import { PASSWORD, runScenario, scenarios } from './scenarios.js';

// How much longer an answer takes, `npm run faults` measures: here the machine may be busy with other things.
// Two at once: each is mostly spent waiting.
it.concurrent.each(scenarios)(
  'serves valid responses in time with Redis $name, and uses Redis again after it returns',
  async (scenario) => {
    const result = await runScenario(scenario, { rate: 80, seconds: 1, lead: 0.3 });
    expect(result.all.filter(({ fault }) => fault !== undefined)).toEqual([]);
    expect(result.during.length).toBeGreaterThan(0);
    expect(result.recovery).toBeDefined();
    // K14, on the consoles of real processes.
    expect(result.output).not.toContain(PASSWORD);
    expect(result.output.split('\n').length).toBeLessThan(60);
  },
);
