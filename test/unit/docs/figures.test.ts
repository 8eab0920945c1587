import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Results, ratioOf } from '../../../bench/lib/results.mjs';

const root = join(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const results = JSON.parse(read('bench/results.json')) as Results;

/** The part of README that says how fast hotpath is, as one line. */
const speed = /## Speed\n([\s\S]*?)\n## /.exec(read('README.md'))![1]!.replace(/\s+/g, ' ');

const STACK = '`compression`, `apicache`, `express-prom-bundle` and `response-time`';
const UNCACHED = 'Express and `compression` without a cache';

describe('the figures of README', () => {
  it.each([
    ['hit-10kb-identity', 'hotpath-front', 'assembled', 1, `hit at the front door | ${STACK}`],
    [
      'hit-10kb-identity',
      'hotpath-front',
      'bare-same-headers',
      2,
      'hit at the front door | `node:http` that sends the same bytes',
    ],
    ['hit-10kb-identity', 'hotpath-front', 'nginx', 2, 'hit at the front door | nginx as a caching proxy'],
    ['hit-10kb-identity', 'hotpath', 'assembled', 1, `hit inside Express, no front door | ${STACK}`],
    ['miss', 'hotpath', 'express-compression', 2, `miss | ${UNCACHED}`],
    ['uncacheable', 'hotpath', 'express-compression', 2, `uncacheable route | ${UNCACHED}`],
  ])('are those of bench/results.json: %s, %s to %s', (load, ours, theirs, digits, row) => {
    const { ratio } = ratioOf(results.loads[load], ours, theirs)!;
    expect(speed).toContain(`| ${row} | ${ratio.toFixed(digits)} |`);
  });

  it('are those of bench/results.json: the CPU time of a hit in Redis', () => {
    const { ratio } = ratioOf(results.loads['second-tier'], 'bare-redis', 'hotpath-front', 'cpu')!;
    expect(speed).toContain(`takes ${ratio.toFixed(1)} times the CPU time of a bare \`ioredis\` GET`);
  });
});
