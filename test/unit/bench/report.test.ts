import { describe, expect, it } from 'vitest';
import { productsOf, SIZES } from '../../../bench/contenders/bodies.mjs';
import { AnswerReader } from '../../../bench/generator/answer-reader.mjs';
import { verdictsOf } from '../../../bench/lib/bounds.mjs';
import { drawChart } from '../../../bench/lib/chart.mjs';
import { makeLoads } from '../../../bench/lib/loads.mjs';
import type { Machine } from '../../../bench/lib/machine.mjs';
import { readOptions } from '../../../bench/lib/options.mjs';
import { chartOf, writeReport } from '../../../bench/lib/report.mjs';
import { type LoadResult, type Results, type Run, ratioOf } from '../../../bench/lib/results.mjs';
import { table } from '../../../bench/lib/tables.mjs';
import { faultsOf } from '../../../bench/lib/verify.mjs';

const machine: Machine = {
  date: '2031-01-02',
  processor: 'A Processor',
  cores: 2,
  memory: 24,
  kernel: 'Linux 6.1',
  node: 'v20.20.2',
  commit: 'abc1234',
  versions: { express: '5.3.0', nginx: 'not installed' },
};
const loads = makeLoads({ isQuick: false });
const loadOf = (id: string) => {
  const load = loads.find((each) => each.id === id);
  if (!load) throw new Error(`no load ${id}`);
  return load;
};
const run = (round: number, rate: number, more: Partial<Run> = {}): Run => ({
  round,
  rate,
  busy: 0.99,
  cpu: 1e6 / rate,
  isCounted: true,
  ...more,
});
const resultOf = (id: string, rates: Record<string, readonly number[]>, more = {}): LoadResult => ({
  load: loadOf(id),
  measured: { date: '2031-01-02', commit: 'abc1234' },
  seconds: 3,
  rounds: 5,
  contenders: {
    ...Object.fromEntries(
      Object.entries(rates).map(([contender, each]) => [
        contender,
        { runs: each.map((rate, round) => run(round, rate)), bytes: 10_240 },
      ]),
    ),
    ...more,
  },
});
const resultsOf = (...all: LoadResult[]): Results => ({
  machine,
  loads: Object.fromEntries(all.map((each) => [each.load.id, each])),
});

describe('ratios', () => {
  const result = resultOf('hit-10kb-identity', { hotpath: [100, 120, 80], assembled: [50, 40, 50] });

  it('divide the medians, and compare the extremes round by round', () => {
    expect(ratioOf(result, 'hotpath', 'assembled')).toEqual({ ratio: 2, min: 1.6, max: 3 });
  });

  it('are inverted for CPU times: less is better', () => {
    expect(ratioOf(result, 'hotpath', 'assembled', 'cpu')?.ratio).toBeCloseTo(2);
  });

  it('leave out uncounted runs, and are undefined where one side has no runs', () => {
    const uncounted = { runs: [run(0, 999, { isCounted: false, reason: 'the server was not busy' })] };
    const mixed = resultOf('hit-10kb-identity', { hotpath: [100] }, { nginx: uncounted });
    expect(ratioOf(mixed, 'hotpath', 'nginx')).toBeUndefined();
    expect(ratioOf(undefined, 'hotpath', 'nginx')).toBeUndefined();
  });
});

describe('verdicts', () => {
  const of = (results: Results, title: RegExp, load: RegExp) =>
    verdictsOf(results).find((each) => title.test(each.title) && load.test(each.load));

  it('hold from the bound on, and not below it', () => {
    const just = resultsOf(resultOf('hit-10kb-identity', { hotpath: [140], assembled: [100] }));
    const below = resultsOf(resultOf('hit-10kb-identity', { hotpath: [139], assembled: [100] }));
    expect(of(just, /inside Express, to the assembled/, /10 kB/)).toMatchObject({
      bound: '≥ 1.4',
      holds: true,
    });
    expect(of(below, /inside Express, to the assembled/, /10 kB/)).toMatchObject({ holds: false });
  });

  it('are undefined for loads that were not measured', () => {
    const verdicts = verdictsOf({ machine, loads: {} });
    expect(verdicts.length).toBeGreaterThan(20);
    expect(verdicts.every(({ holds, ratio }) => holds === undefined && ratio === undefined)).toBe(true);
  });

  it('accept up to 1.3 times the CPU time for 1,000,000 entries', () => {
    const entry = { contender: 'hotpath', heap: 1, resident: 1, body: 1 };
    const scale = (cpu: number) => ({
      entries: [
        { ...entry, count: 1_000, cpu: [10] },
        { ...entry, count: 1_000_000, cpu: [cpu] },
      ],
      ...{ purging: [], connections: [], start: [], subpaths: [] },
    });
    const holds = (cpu: number) =>
      of({ machine, loads: {}, scale: scale(cpu) }, /1,000,000 entries/, /hotpath/)?.holds;
    expect([holds(13), holds(13.1)]).toEqual([true, false]);
  });

  it('use only loads that exist and contenders that take part in them', () => {
    const titles = verdictsOf({ machine, loads: {} }).map(({ load }) => load);
    for (const id of titles.filter((each) => each !== 'scale'))
      expect(loads.map((load) => load.id)).toContain(id);
  });
});

describe('the report', () => {
  const absent = { nginx: { runs: [], absent: 'not installed (Debian: nginx-light)' } };
  const slow = { runs: [run(0, 90_000, { isCounted: false, reason: 'the server was not busy', busy: 0.4 })] };
  const rates = { hotpath: [100], assembled: [60], cacheable: [125], bare: [800] };
  const results = resultsOf(resultOf('hit-10kb-identity', rates, { ...absent, varnish: slow }));
  const text = writeReport(results);

  it('names peers that are ahead and their ratio, without contenders that have no cache', () => {
    const section = text.split('## Where a peer is ahead')[1]?.split('##')[0];
    expect(section).toContain('cacheable in a handler (1.25 times)');
    expect(section).not.toContain('assembled');
    expect(section).not.toContain('node:http');
  });

  it('names contenders that are not installed or not counted, with the reason', () => {
    expect(text).toMatch(/nginx[^\n]*not installed/);
    expect(text).toMatch(/Varnish[^\n]*not counted: the server was not busy \(40 % busy\)/);
  });

  it('separates closed-model from open-model figures, and names only parts of the machine', () => {
    const latency = resultOf('latency', { hotpath: [500] });
    const all = writeReport(resultsOf(resultOf('hit-10kb-identity', rates), { ...latency, rate: 500 }));
    expect(all).toContain('closed; 32 connections');
    expect(all).toContain('*open*, 500 requests a second');
    expect(all).toContain('A Processor, 2 cores, 24 GiB, Linux 6.1, Node v20.20.2');
  });

  it('writes table rows as wide as their heads', () => {
    const lines = text.split('\n').filter((line) => line.startsWith('|'));
    const cells = (line: string) => line.split(/(?<!\\)\|/).length;
    lines.forEach((line, i) => {
      const rule = lines[i + 1];
      if (rule?.startsWith('| ---')) expect(cells(rule)).toBe(cells(line));
      if (line.startsWith('| ---')) expect(cells(lines[i + 1] ?? line)).toBe(cells(line));
    });
  });

  it('draws a chart with every counted contender, for light and dark pages', () => {
    const chart = chartOf(results);
    expect(chart).toContain('hotpath inside Express');
    expect(chart).not.toContain('Varnish');
    expect(chart).toContain('prefers-color-scheme: dark');
  });

  it('accepts any text in tables and charts', () => {
    expect(table(['a', 'b'], [['x|y', '1\n2']])).toContain('| x\\|y | 1 2 |');
    const bars = [{ label: '<b> & "c"', value: 1, min: 1, max: 1, isOurs: false }];
    const chart = drawChart([{ title: 't', unit: 'u', bars }]);
    expect(chart).toContain('&#60;b&#62; &#38; &#34;c&#34;');
  });
});

describe('checks before a measurement', () => {
  const answer = (status: number, body: string, headers = {}) => ({
    status,
    headers,
    rawHeaders: [],
    body: Buffer.from(body),
  });
  const right = JSON.stringify(productsOf(SIZES['10kb']));

  it('sends bodies of exactly the stated length', () => {
    for (const bytes of [...Object.values(SIZES), 900]) {
      expect(JSON.stringify(productsOf(bytes))).toHaveLength(bytes);
    }
  });

  it('finds a wrong status, body or coding, and accepts a right response', () => {
    const load = loadOf('hit-10kb-identity');
    expect(faultsOf(load, load.path, answer(200, right))).toEqual([]);
    expect(faultsOf(load, load.path, answer(500, right))).toEqual(['status 500 instead of 200']);
    expect(faultsOf(load, load.path, answer(200, '[]'))).toEqual(['the body is not that of the handler']);
    const gzip = loadOf('hit-10kb-gzip');
    expect(faultsOf(gzip, gzip.path, answer(200, right))).toEqual(['coding identity instead of gzip']);
    const broken = answer(200, right, { 'content-encoding': 'gzip' });
    expect(faultsOf(gzip, gzip.path, broken)).toEqual(['the body cannot be decoded']);
  });

  it('finds a 304 that wrk cannot read', () => {
    const load = loadOf('not-modified');
    expect(faultsOf(load, load.path, answer(304, ''))).toEqual([]);
    expect(faultsOf(load, load.path, answer(304, '', { 'content-length': '10' }))[0]).toMatch(
      /Content-Length/,
    );
  });
});

describe('responses read by the load generator', () => {
  const read = (...chunks: string[]) => {
    const reader = new AnswerReader();
    return chunks.map((chunk) => reader.read(Buffer.from(chunk)));
  };
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n';

  it('are found in one piece, in several pieces, and one after the other on a connection', () => {
    expect(read(`${head}hello`)).toEqual([200]);
    expect(read(head.slice(0, 20), `${head.slice(20)}he`, 'llo', `${head}again`)).toEqual([
      ...[undefined, undefined, 200, 200],
    ]);
  });

  it('are found in chunks whose end is split', () => {
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect(read(`${chunked}5\r\nhello\r\n0\r\n\r\n`)).toEqual([200]);
    expect(read(`${chunked}5\r\nhello\r\n0\r`, '\n\r', '\n')).toEqual([undefined, undefined, 200]);
  });

  it('have no body for a 304 with any Content-Length', () => {
    expect(read('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n')).toEqual([304]);
  });
});

describe('the command line', () => {
  it('selects loads and contenders by name or prefix', () => {
    const options = readOptions(['--loads', 'hit-1kb-,miss', '--only', 'bare*,express', '--rounds', '2']);
    const contenders = ['bare', 'bare-same-headers', 'express', 'bare-redis', 'bare-redis-same-headers'];
    expect(options).toMatchObject({ rounds: 2, processes: 1, contenders });
    const chosen = typeof options === 'string' ? [] : options.loads.map(({ id }) => id);
    expect(chosen).toEqual(['hit-1kb-identity', 'hit-1kb-gzip', 'hit-1kb-br', 'miss']);
  });

  it('lists the choices for a wrong name, and the accepted numbers', () => {
    expect(() => readOptions(['--only', 'expres'])).toThrow(/no contender expres; there are bare, /);
    expect(() => readOptions(['--rounds', '0'])).toThrow(
      '--rounds takes a whole number of at least 1, not 0',
    );
    expect(() => readOptions(['--rounds', '2', '--processes', '3'])).toThrow(
      '--processes takes at most 2 here, not 3',
    );
  });
});
