import { describe, expect, it } from 'vitest';
import { countTests } from '../../../scripts/count-tests.mjs';

const file = (status: string, ...outcomes: string[]) => ({
  status,
  assertionResults: outcomes.map((outcome) => ({ status: outcome })),
});

describe('the count on the last line of the checks', () => {
  it('counts passed and failed tests, and not skipped ones', () => {
    const testResults = [file('passed', 'passed', 'skipped', 'passed'), file('failed', 'failed', 'passed')];
    expect(countTests({ testResults }, false)).toEqual({ passed: 3, failed: 1 });
    expect(countTests({ testResults: [file('passed', 'passed')] }, true)).toEqual({ passed: 1, failed: 0 });
  });

  it('counts a file that could not be loaded as a failure, beside failures of other files', () => {
    const testResults = [file('failed'), file('failed', 'failed'), file('passed', 'passed')];
    expect(countTests({ testResults }, false)).toEqual({ passed: 1, failed: 2 });
  });

  it('counts an error outside of any test as a failure', () => {
    expect(countTests({ testResults: [file('passed', 'passed')] }, false)).toEqual({ passed: 1, failed: 1 });
  });

  it('counts a run without a test or without a report as a failure', () => {
    expect(countTests({ testResults: [] }, true)).toEqual({ passed: 0, failed: 1 });
    expect(countTests({ testResults: [file('passed', 'skipped')] }, true)).toEqual({ passed: 0, failed: 1 });
    expect(countTests(undefined, false)).toEqual({ passed: 0, failed: 1 });
  });
});
