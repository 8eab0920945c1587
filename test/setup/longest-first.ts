import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that take longest, longest first: the sum of CPU time and of waiting. Started last, they would leave one of
 * two cores idle. A file of a project that shares its processes starts one more process here, as the files beside it are
 * of another project.
 */
export const LONGEST = [
  'services/leaks/leaks',
  'services/examples/process',
  'services/postgres/changes',
  'services/examples/jobs',
  'services/examples/two',
  'services/postgres/builds',
  'services/store/redis/chaos-real',
  'services/admin/dashboard',
  'services/admin/dashboard-database',
  'services/cache/redis-purge',
  'process/compiler',
  'process/hostile',
  'unit/store/redis/chaos',
  'process/hooks',
  'services/examples/api',
  'services/faults/redis-faults',
];

/** The longest files of the project that comes last, among its own. */
export const LONGEST_OF_LAST = [
  'http/front-door/kinds',
  'http/compat/call-shapes',
  'http/compat/aborts',
  'http/front-door/same',
  'http/middleware/metrics-pipelined',
  'http/middleware/load-shedding',
  'http/exchange/wire',
  'http/compat/third-parties',
  'unit/http/request-target',
  'http/middleware/size-limit-decoders',
  'http/warming/hot-keys',
  'unit/admin/event-streams',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    const named = (names: readonly string[], project?: string) =>
      names.flatMap((name) =>
        others.filter(
          (file) =>
            file.moduleId.endsWith(`/test/${name}.test.ts`) &&
            (project === undefined || file.project.name === project),
        ),
      );
    const last = others.at(-1)?.project.name;
    const ofLast = new Set(others.filter(({ project }) => project.name === last));
    // Its packages may still be installing.
    const isCompat = ({ project }: TestSpecification) => project.name.startsWith('compat');
    const rest = others.filter((file) => !ofLast.has(file));
    return [
      ...new Set([
        ...named(LONGEST),
        ...rest.filter((file) => !isCompat(file)),
        ...rest.filter(isCompat),
        ...named(LONGEST_OF_LAST, last),
        ...ofLast,
      ]),
    ];
  }
}
