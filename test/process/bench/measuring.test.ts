import { describe, expect, it } from 'vitest';
import {
  BUSY_BOUND,
  cpuSeconds,
  familyOf,
  idleSeconds,
  isBusy,
  parseStat,
  windowOf,
} from '../../../bench/lib/cpu.mjs';
import { selfTimes } from '../../../bench/lib/profile.mjs';
import { median, percentile, spreadOf } from '../../../bench/lib/statistics.mjs';
import { parseWrk, wrkArguments } from '../../../bench/lib/wrk.mjs';

describe('statistics', () => {
  it('takes the middle value as the median, the mean of two, and nothing for no values', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 2, 4, 1])).toBe(3);
    expect(median([])).toBeNaN();
  });

  it('reports the median and the extremes of a spread, and nothing for no values', () => {
    expect(spreadOf([3, 10, 20])).toEqual({ median: 10, min: 3, max: 20, count: 3 });
    expect(spreadOf([])).toBeUndefined();
  });

  it('takes a value that occurred as the percentile: the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
    expect([0.5, 0.95, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 95, 99, 100]);
    expect(percentile([7], 0.5)).toBe(7);
    expect(percentile([], 0.5)).toBeNaN();
  });
});

describe('CPU time of a server', () => {
  const stat = (pid: number, name: string, parent: number, user: number, system: number) =>
    `${pid} (${name}) S ${parent} 1 1 0 -1 4194304 1 2 3 4 ${user} ${system} 900 900 20 0 1 0 1 1`;

  it('is user and system time, without that of children that have ended', () => {
    expect(parseStat(stat(42, 'node', 7, 150, 50))).toEqual({ pid: 42, parent: 7, seconds: 2 });
  });

  it('is read when the program name holds spaces and parentheses', () => {
    expect(parseStat(stat(42, 'a) S 1 (b', 7, 100, 0))).toEqual({ pid: 42, parent: 7, seconds: 1 });
  });

  it('includes child processes at every depth, in any order, and no other process', () => {
    const all = [stat(4, 'd', 3, 1, 1), stat(3, 'c', 2, 1, 1), stat(2, 'b', 1, 1, 1), stat(9, 'x', 1, 1, 1)];
    expect(familyOf(2, all.map(parseStat)).sort()).toEqual([2, 3, 4]);
  });

  it.runIf(process.platform === 'linux')('can be read for the current process', () => {
    const { user, system } = process.cpuUsage();
    expect(cpuSeconds(process.pid)).toBeGreaterThan(((user + system) / 1e6) * 0.5);
  });

  it('reads the idle time of a core from the line of that core', () => {
    const text = 'cpu  9 9 9 900 99 9\ncpu0 1 2 3 400 50 6 7 8\ncpu1 1 2 3 100 5 6\n';
    expect([idleSeconds(text, '0'), idleSeconds(text, '1')]).toEqual([4.5, 1.05]);
  });

  it('counts a run from 95 % CPU use of one core', () => {
    expect(BUSY_BOUND).toBe(0.95);
    const idleFor = (idle: number, wall: number) =>
      windowOf({ cpu: 1, idle: 5 }, { cpu: 2, idle: 5 + idle }, wall);
    expect(isBusy(idleFor(0.125, 4))).toBe(true);
    expect(isBusy(idleFor(0.25, 4))).toBe(false);
    expect(isBusy(idleFor(0, 0))).toBe(false);
  });
});

describe('wrk', () => {
  const printed = (more = '') => `Running 3s test @ http://127.0.0.1:1/hit
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.00ms    2.00ms  30.00ms   90.00%
    Req/Sec    20.10k     1.00k   22.00k    70.00%
  60300 requests in 3.01s, 590.00MB read
${more}Requests/sec:  20033.22
Transfer/sec:    196.01MB
`;

  it('reports requests, seconds and rate', () => {
    expect(parseWrk(printed())).toEqual({
      requests: 60300,
      seconds: 3.01,
      rate: 20033.22,
      refused: 0,
      failed: 0,
    });
  });

  it('detects error responses and socket errors', () => {
    const more = '  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 17\n';
    expect(parseWrk(printed(more))).toMatchObject({ refused: 17, failed: 10 });
  });

  it('reads a run of minutes in seconds, and rejects output without a result', () => {
    expect(parseWrk(printed().replace('3.01s', '1.50m')).seconds).toBe(90);
    expect(() => parseWrk('unable to connect to 127.0.0.1:1 Connection refused')).toThrow(
      /unable to connect/,
    );
  });

  it('receives connections, headers and a script', () => {
    const run = { port: 80, path: '/x', seconds: 2, connections: 8, headers: { A: 'b' } };
    expect(wrkArguments(run)).toEqual([
      ...['-t', '1', '-c', '8', '-d', '2s', '-H', 'A: b', 'http://127.0.0.1:80/x'],
    ]);
    expect(wrkArguments({ ...run, headers: {}, script: 's.lua', args: ['/p/', 5] })).toEqual([
      ...['-t', '1', '-c', '8', '-d', '2s', '-s', 's.lua', 'http://127.0.0.1:80/x', '--', '/p/', '5'],
    ]);
  });
});

describe('CPU profile', () => {
  const frame = (functionName: string, url = '', lineNumber = 0) => ({ functionName, url, lineNumber });
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('find', 'file:///home/x/node_modules/express/lib/router.js', 9) },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('', 'node:events', 4) },
      { id: 4, callFrame: frame('find', 'file:///home/x/node_modules/express/lib/router.js', 9) },
    ],
    samples: [1, 2, 3, 4, 1],
    timeDeltas: [0, 10, 1000, 30, 5],
  };

  it('counts time until the next sample, merges equal functions, leaves idle time out', () => {
    expect(selfTimes(profile)).toEqual({
      total: 45,
      rows: [
        { name: '(anonymous)', where: 'node:events:5', microseconds: 30 },
        { name: 'find', where: 'express/lib/router.js:10', microseconds: 15 },
      ],
    });
  });

  it('starts at the given time and ignores earlier samples', () => {
    expect(selfTimes(profile, 40).total).toBe(35);
  });
});
