/**
 * Counts the results of a Vitest run from its JSON report.
 *
 * Three kinds of failure have no failed test: a file that cannot be loaded, an error outside of any test, and
 * a run without tests. Each counts as one failure.
 *
 * @param {{ testResults?: { status: string, assertionResults: { status: string }[] }[] } | undefined} report
 *   the parsed report, `undefined` when none was written
 * @param {boolean} ok whether the run's exit code was 0
 * @returns {{ passed: number, failed: number }}
 */
export function countTests(report, ok) {
  let passed = 0;
  let failed = 0;
  for (const file of report?.testResults ?? []) {
    const outcomes = file.assertionResults.map(({ status }) => status);
    const failures = outcomes.filter((status) => status === 'failed').length;
    passed += outcomes.filter((status) => status === 'passed').length;
    failed += failures;
    if (file.status === 'failed' && failures === 0) failed += 1;
  }
  if (failed === 0 && (!ok || passed === 0)) failed = 1;
  return { passed, failed };
}
