/** The parts of Vitest's JSON report that are used. */
export interface TestReport {
  readonly testResults?: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

export function countTests(report: TestReport | undefined, ok: boolean): { passed: number; failed: number };
