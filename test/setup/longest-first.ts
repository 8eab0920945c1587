import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The slowest files, longest first. Started last, they would leave one of two cores idle. */
const LONGEST = [
  'middleware/compression-cost',
  'compat/call-shapes',
  'conformance/front-door',
  'examples/process',
  'process/hostile',
  'middleware/size-limit-cost',
  'cache/redis-processes',
  'examples/two',
  'package/package',
  'examples/caching',
  'process/garbage',
  'examples/page',
  'compat/third-parties',
  'cache/collapse',
  'faults/redis-faults',
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
