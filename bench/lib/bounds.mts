// The bounds that were set before the measurements, and whether they hold.
import { type Figure, type Ratio, type Results, ratioOf } from './results.mjs';
import { median } from './statistics.mjs';

export interface Bound {
  readonly title: string;
  /** Minimum ratio; for `scale`, the maximum. */
  readonly bound: number;
  readonly loads: readonly string[];
  readonly ours: string;
  readonly theirs: string;
  readonly figure?: Figure;
}

const SIZES = ['1kb', '10kb', '100kb'];
const hits = (codings: readonly string[], sizes = SIZES) =>
  sizes.flatMap((size) => codings.map((coding) => `hit-${size}-${coding}`));
const PLAIN = hits(['identity'], ['10kb']);
const IN_REDIS = ['second-tier', 'second-tier-busy'];
const RUNS_HANDLER = ['miss', 'miss-gzip', 'uncacheable', 'uncacheable-gzip'];

export const BOUNDS: readonly Bound[] = [
  {
    title: 'Front-door hit, to node:http with the same bytes, its header lines included',
    bound: 0.85,
    loads: hits(['identity', 'gzip']),
    ours: 'hotpath-front',
    theirs: 'bare-same-headers',
  },
  {
    title: 'Front-door hit, to node:http with the same body and no header lines of its own',
    bound: 0.85,
    loads: hits(['identity', 'gzip']),
    ours: 'hotpath-front',
    theirs: 'bare',
  },
  {
    title: 'Hit inside Express, to the raw first middleware of Express',
    bound: 0.9,
    loads: hits(['identity', 'gzip']),
    ours: 'hotpath',
    theirs: 'express-raw',
  },
  {
    title: 'Hit inside Express behind a front door, to the raw first middleware of Express',
    bound: 0.9,
    loads: hits(['identity', 'gzip']),
    ours: 'hotpath-behind',
    theirs: 'express-raw',
  },
  {
    title: 'Front-door hit, to the assembled stack',
    bound: 6,
    loads: PLAIN,
    ours: 'hotpath-front',
    theirs: 'assembled',
  },
  {
    title: 'Hit inside Express, to the assembled stack',
    bound: 1.4,
    loads: PLAIN,
    ours: 'hotpath',
    theirs: 'assembled',
  },
  {
    title:
      'Hit in Redis through the front door, to node:http and an ioredis GET with the same bytes, its header lines included (CPU time of the server)',
    bound: 0.8,
    loads: IN_REDIS,
    ours: 'hotpath-front',
    theirs: 'bare-redis-same-headers',
    figure: 'cpu',
  },
  {
    title: 'Hit in Redis through the front door, to node:http and an ioredis GET (CPU time of the server)',
    bound: 0.8,
    loads: IN_REDIS,
    ours: 'hotpath-front',
    theirs: 'bare-redis',
    figure: 'cpu',
  },
  {
    title: 'Miss and uncacheable route inside Express, to the assembled stack',
    bound: 1,
    loads: RUNS_HANDLER,
    ours: 'hotpath',
    theirs: 'assembled',
  },
  {
    title: 'Miss and uncacheable route inside Express, to Express and compression alone',
    bound: 0.9,
    loads: RUNS_HANDLER,
    ours: 'hotpath',
    theirs: 'express-compression',
  },
  {
    title: 'Miss and uncacheable route with the front door, to the assembled stack',
    bound: 1,
    loads: RUNS_HANDLER,
    ours: 'hotpath-front',
    theirs: 'assembled',
  },
  {
    title: 'Miss and uncacheable route with the front door, to Express and compression alone',
    bound: 0.9,
    loads: RUNS_HANDLER,
    ours: 'hotpath-front',
    theirs: 'express-compression',
  },
];

/** Maximum growth of the time of a hit from 1,000 to 1,000,000 entries. */
export const SCALE_BOUND = 1.3;

export interface Verdict {
  readonly title: string;
  /** As text, such as `≥ 0.85`. */
  readonly bound: string;
  readonly load: string;
  /** Absent if something was not measured. */
  readonly ratio?: Ratio;
  /** Absent if something was not measured. */
  readonly holds?: boolean;
}

/** One verdict for each bound and load. */
export function verdictsOf(results: Results): Verdict[] {
  const ratios = BOUNDS.flatMap(({ title, bound, loads, ours, theirs, figure }) =>
    loads.map((id): Verdict => {
      const result = results.loads[id];
      const ratio = ratioOf(result, ours, theirs, figure);
      const load = result?.load.title ?? id;
      const said = { title, bound: `≥ ${bound}`, load };
      return ratio === undefined ? said : { ...said, ratio, holds: ratio.ratio >= bound };
    }),
  );
  return [...ratios, ...scaleVerdicts(results)];
}

function scaleVerdicts({ scale }: Results): Verdict[] {
  const title = 'Time of a hit among 1,000,000 entries, to among 1,000';
  const bound = `≤ ${SCALE_BOUND}`;
  const contenders = [...new Set(scale?.entries.map(({ contender }) => contender) ?? [])];
  if (contenders.length === 0) return [{ title, bound, load: 'scale' }];
  return contenders.map((contender) => {
    const of = (count: number) =>
      scale?.entries.find((each) => each.contender === contender && each.count === count)?.cpu ?? [];
    const [few, many] = [of(1_000), of(1_000_000)];
    if (few.length === 0 || many.length === 0) return { title, bound, load: contender };
    const pairs = many.map((cpu, round) => cpu / (few[round] ?? Number.NaN)).filter(Number.isFinite);
    const ratio = median(many) / median(few);
    return {
      title,
      bound,
      load: contender,
      ratio: { ratio, min: Math.min(ratio, ...pairs), max: Math.max(ratio, ...pairs) },
      holds: ratio <= SCALE_BOUND,
    };
  });
}
