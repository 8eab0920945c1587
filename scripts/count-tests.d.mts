/** What is read of Vitest's JSON report. */
export interface TestReport {
  readonly testResults?: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

export function countTests(report: TestReport | undefined, ok: boolean): { passed: number; failed: number };
