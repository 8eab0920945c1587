import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The isolated files that take longest, longest first: the sum of CPU time and of waiting. Started last, they would leave
 * one of two cores idle.
 */
export const LONGEST = [
  'services/leaks/leaks',
  'services/examples/two',
  'services/examples/process',
  'process/middleware/compression-cost',
  'services/cache/redis-processes',
  'process/package/package',
  'process/middleware/size-limit-cost',
  'process/conformance/front-door',
  'process/hooks',
  'services/examples/caching',
  'services/admin/dashboard',
  'process/hostile',
  'services/examples/api',
  'services/examples/page',
  'services/telemetry/grafana',
  'services/cache/redis-purge',
  'services/faults/redis-faults',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    const longest = LONGEST.flatMap((name) =>
      others.filter(({ moduleId }) => moduleId.endsWith(`/test/${name}.test.ts`)),
    );
    return [...new Set([...longest, ...others])];
  }
}
