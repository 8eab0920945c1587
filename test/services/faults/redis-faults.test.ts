import { expect, it } from 'vitest';
import { PASSWORD, runScenario, scenarios } from '../../faults/scenarios.js';

// `npm run faults` measures the added response time; here the machine may be busy with other work.
// Two at once, because each mostly waits.
it.concurrent.each(scenarios)(
  'serves valid responses in time with Redis $name, and uses Redis again after it returns',
  async (scenario) => {
    const result = await runScenario(scenario, { rate: 80, seconds: 1, lead: 0.3 });
    expect(result.all.filter(({ fault }) => fault !== undefined)).toEqual([]);
    expect(result.during.length).toBeGreaterThan(0);
    expect(result.recovery).toBeDefined();
    // K14: consoles of real processes.
    expect(result.output).not.toContain(PASSWORD);
    expect(result.output.split('\n').length).toBeLessThan(60);
  },
);
