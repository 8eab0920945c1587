import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Results, ratioOf } from '../../bench/lib/results.mjs';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const results = JSON.parse(read('bench/results.json')) as Results;

/** The part of README that says how fast it is, as one line. */
const said = /## How fast\n([\s\S]*?)\n## /.exec(read('README.md'))![1]!.replace(/\s+/g, ' ');

describe('the figures of README', () => {
  it.each([
    ['hit-10kb-identity', 'hotpath-front', 'assembled', 1, 'a hit at the front door is %'],
    ['hit-10kb-identity', 'hotpath-front', 'bare-same-headers', 2, 'and % times as fast as `node:http`'],
    ['hit-10kb-identity', 'hotpath-behind', 'express-raw', 1, 'a hit inside Express is % times'],
    ['uncacheable', 'hotpath-front', 'express-compression', 1, 'an uncacheable route answers % times'],
    ['miss', 'hotpath-front', 'express-compression', 2, 'a miss that is stored %'],
    ['hit-10kb-identity', 'hotpath', 'assembled', 1, 'Without a door, a hit is %'],
    ['hit-10kb-identity', 'hotpath', 'express-raw', 1, 'and % times as fast as that first middleware'],
    ['uncacheable', 'hotpath', 'express-compression', 2, 'an uncacheable route answers % times'],
    ['miss', 'hotpath', 'express-compression', 2, 'a miss % times'],
    ['hit-10kb-identity', 'nginx', 'hotpath-front', 1, 'nginx as a caching proxy is % times as fast'],
  ])('are those of bench/results.json: %s, %s to %s', (load, ours, theirs, digits, sentence) => {
    const { ratio } = ratioOf(results.loads[load], ours, theirs)!;
    expect(said).toContain(sentence.replace('%', ratio.toFixed(digits)));
  });

  it.each([
    ['hotpath-front', 'costs % times the CPU of a bare `ioredis` GET, and % times on a busy server'],
    ['redis-least', 'takes % and % times by itself'],
  ])('of CPU time in Redis are those of bench/results.json: %s', (contender, sentence) => {
    const ratios = ['second-tier', 'second-tier-busy'].map(
      (load) => ratioOf(results.loads[load], 'bare-redis', contender, 'cpu')!.ratio,
    );
    expect(said).toContain(ratios.reduce((text, ratio) => text.replace('%', ratio.toFixed(1)), sentence));
  });
});
