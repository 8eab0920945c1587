// Runs plans of the leak test, one at a time. The clock of this process moves only when a plan moves it, so no other
// plan lets time pass between two requests of this one.
import { performance } from 'node:perf_hooks';
import type { Job, Result } from './processes.js';
import { type Outcome, runPlan } from './run.js';
import { describePlan, shrink } from './shrink.js';
import { type Plan, planOf } from './spec.js';

let now = performance.now();
performance.now = () => now;
const pass = (milliseconds: number) => {
  now += milliseconds;
};

let started = 0;
function run(plan: Plan, { surroundings, kind }: Job): Promise<Outcome> {
  const prefix = `leaks:${process.pid}:${started++}:`;
  return runPlan(plan, { ...surroundings, prefix }, { kind, pass });
}

async function work(job: Job): Promise<Result> {
  const plan = planOf(job.seed, { redis: true, certificates: true }, job.requests);
  const outcome = await run(plan, job);
  const [leak] = outcome.leaks;
  if (!leak || !job.describes) return { outcome };
  const smaller = await shrink(plan, leak, (fewer) => run(fewer, job));
  return { outcome, description: describePlan(smaller, leak) };
}

process.on('message', async (job: Job) => {
  process.send!(await work(job).catch((error: Error) => ({ error: error.stack })));
});
