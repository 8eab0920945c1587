// The part of RESULTS.md with the results of `npm run bench:scale`.
import { contenderOf } from './contenders.mjs';
import type { ScaleResult } from './results.mjs';
import { spreadOf } from './statistics.mjs';
import { cell, number, table } from './tables.mjs';

export function scaleSections({ entries, purging, connections, start, subpaths }: ScaleResult): string[] {
  const label = (id: string) => contenderOf(id).label;
  const times = (values: readonly number[]) => {
    const spread = spreadOf(values);
    return [cell(spread, 1), spread ? `${number(spread.min, 1)}–${number(spread.max, 1)}` : '–'];
  };
  return [
    '## How cost grows',
    '### With the number of entries',
    'Hits on keys chosen at random, all alike (closed); CPU time of the server for one. Memory: what the process has more than before it was filled, for each entry.',
    table(
      [
        'Contender',
        'Entries',
        'CPU µs/hit',
        'Min–max',
        'Heap and external, bytes',
        'Resident, bytes',
        'Of that body',
      ],
      entries.map(({ contender, count, cpu, heap, resident, body }) => [
        label(contender),
        number(count),
        ...times(cpu),
        number(heap),
        number(resident),
        number(body),
      ]),
    ),
    '### While tags are purged',
    'Hits at a fixed rate (*open*), without purges and with 100 a second.',
    table(
      ['Contender', 'Purges/s', 'Requests/s', 'p50 ms', 'p95 ms', 'p99 ms', 'Max ms'],
      purging.map(({ contender, purges, rate, latency }) => [
        label(contender),
        number(purges),
        number(rate),
        ...[latency.p50, latency.p95, latency.p99, latency.max].map((each) => number(each, 2)),
      ]),
    ),
    '### With many connections',
    'Open keep-alive connections, each used in turn, hits of 10 kB at a fixed rate (*open*). The goal: p95 under 50 ms.',
    table(
      ['Contender', 'Connections', 'Requests/s', 'Failed', 'p50 ms', 'p95 ms', 'p99 ms', 'p95 < 50 ms'],
      connections.map(({ contender, open, rate, failed, latency }) => [
        label(contender),
        number(open),
        number(rate),
        number(failed),
        ...[latency.p50, latency.p95, latency.p99].map((each) => number(each, 2)),
        latency.p95 < 50 && failed === 0 ? 'yes' : '**no**',
      ]),
    ),
    '### At the start',
    'From the start of the process to the first answer.',
    table(
      ['App', 'ms', 'Min–max'],
      start.map(({ what, milliseconds }) => [what, ...times(milliseconds)]),
    ),
    'Of each subpath: time of its import in a fresh process, and size when bundled and minified: its own code, and with all dependencies but the optional Redis client.',
    table(
      ['Subpath', 'Import ms', 'Min–max', 'Own bytes', 'gzip', 'With dependencies', 'gzip'],
      subpaths.map((each) => [
        `\`${each.subpath}\``,
        ...times(each.importMilliseconds),
        number(each.bytes),
        number(each.gzip),
        number(each.bytesWithDependencies),
        number(each.gzipWithDependencies),
      ]),
    ),
  ];
}
