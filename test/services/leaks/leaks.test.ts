import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RedisServer } from '../../helpers/redis.js';
import { makeCertificates } from '../../leaks/certificates.js';
import { type Job, LeakProcess } from '../../leaks/processes.js';
import type { Outcome } from '../../leaks/run.js';
import { USERS } from '../../leaks/spec.js';

/** Requests per app. */
const PER_APP = 500;
/** One per core of a small machine: each process compiles the same code, which costs more than most apps. */
const PROCESSES = 2;
/** Apps that show what the checks find without a cache, and with a bad one. */
const CONTROLS = 12;
const wanted = Number(process.env.LEAK_REQUESTS ?? 20_000);
/** Given apps (`LEAK_SEED=1,2`), or consecutive seeds from a random one. */
const given = process.env.LEAK_SEED?.split(',').map(Number);
const first = randomInt(2 ** 30);

/**
 * A gate refuses refreshes, and an app may be closed while it still writes to Redis. The clock may move while a command
 * waits for Redis.
 */
const EXPECTED_FAULTS = /refused the background refresh|Connection is closed|no re(?:ply|sponse) within/;

/** Seeds that once showed a leak. */
const known: readonly number[] = [];

let surroundings: Job['surroundings'];
let redis: RedisServer;
let processes: readonly LeakProcess[];
beforeAll(async () => {
  redis = await RedisServer.start();
  surroundings = { certificates: makeCertificates(USERS), redisUrl: redis.url };
  processes = Array.from({ length: PROCESSES }, () => new LeakProcess());
});
afterAll(async () => {
  for (const each of processes) each.close();
  await redis.stop();
});

/** @throws with a reproduction when an app leaks. */
async function expectNoLeak(runner: LeakProcess, seed: number): Promise<Outcome> {
  const job: Job = { seed, requests: PER_APP, surroundings, describes: true };
  const { outcome, description } = await runner.run(job);
  if (description !== undefined) throw new Error(`seed ${seed}: ${description}`);
  const unexpected = outcome.faults.filter((fault) => !EXPECTED_FAULTS.test(fault));
  expect(unexpected, `seed ${seed}`).toEqual([]);
  return outcome;
}

/** Runs an app for each seed, in all processes, until there are no more seeds. @throws the first failure. */
async function runAll(
  seeds: Iterator<number>,
  run: (runner: LeakProcess, seed: number) => Promise<void>,
): Promise<void> {
  let isOver = false;
  const work = async (runner: LeakProcess) => {
    try {
      for (let next = seeds.next(); !isOver && !next.done; next = seeds.next()) await run(runner, next.value);
    } finally {
      isOver = true;
    }
  };
  const ended = await Promise.allSettled(processes.map(work));
  for (const each of ended) if (each.status === 'rejected') throw each.reason;
}

function* upTo(count: number): Generator<number, void> {
  for (let seed = 1; seed <= count; seed++) yield seed;
}

describe('random apps behind the cache', () => {
  it(`serve no user the data of another: ${given ? 'given seeds' : `${wanted} requests`} [A02, A04, C03, H02, H12]`, async () => {
    const total = { requests: 0, hits: 0, stale: 0, collapsed: 0, refreshes: 0 };
    let last = first;
    const seeds = function* (): Generator<number, void> {
      yield* given ?? known;
      if (!given) for (; total.requests < wanted; last++) yield last;
    };
    console.log(`leak seeds: ${(given ?? [...known, `${first} and those after it`]).join(', ')}`);
    await runAll(seeds(), async (runner, seed) => {
      const outcome = await expectNoLeak(runner, seed);
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += outcome[name];
    });
    console.log(`leak test: ${JSON.stringify(total)}, last seed ${last - 1}`);
    if (given) return;
    // Each way of serving another's response was tried often.
    expect(total.hits).toBeGreaterThan(wanted / 20);
    for (const count of [total.stale, total.collapsed, total.refreshes]) {
      expect(count).toBeGreaterThan(wanted / 200);
    }
  }, 7_200_000);

  it('leak nothing without a cache, so every leak is the fault of the cache', async () => {
    await runAll(upTo(CONTROLS), async (runner, seed) => {
      const { outcome } = await runner.run({ seed, requests: 100, surroundings, kind: 'none' });
      expect(outcome.leaks, `seed ${seed}`).toEqual([]);
    });
  });

  it('leak behind a cache that keys responses by URL alone', async () => {
    const kinds = new Set<string>();
    let leaking = 0;
    await runAll(upTo(CONTROLS), async (runner, seed) => {
      const { outcome } = await runner.run({ seed, requests: 200, surroundings, kind: 'by-url' });
      if (outcome.leaks.length > 0) leaking++;
      for (const { kind } of outcome.leaks) kinds.add(kind);
    });
    expect(leaking).toBeGreaterThan(CONTROLS / 2);
    expect([...kinds]).toEqual(expect.arrayContaining(['canary', 'view']));
  });
});
