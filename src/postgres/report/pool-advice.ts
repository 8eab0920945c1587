import type { PoolLoad } from './pool-load.js';

/** The share of callers that may wait for a connection. */
const WAITING_SHARE = 0.01;

/** Fewer checkouts tell too little. */
const LEAST_CHECKOUTS = 100;

/** Shorter times are no load, but a moment. Seconds. */
const LEAST_SECONDS = 1;

/** Advice about the size of a pool. */
export interface PoolAdvice {
  /** `unknown`: too little was measured. `enough`: the size fits. `server-limit`: the server has too few connections. */
  readonly verdict: 'unknown' | 'enough' | 'grow' | 'shrink' | 'server-limit';
  /** The size now; `null`: unknown. */
  readonly size: number | null;
  /** The size that the measurements suggest for each instance; `null`: unknown. */
  readonly suggested: number | null;
  readonly instances: number;
  /** Connections that all instances may open together with the suggested size, and those that the server has for them. */
  readonly wanted: number | null;
  readonly available: number | null;
  /** Of the busiest step of the last hour: callers per second, seconds in use, and their product. */
  readonly arrivalRate: number | null;
  readonly meanUseSeconds: number | null;
  readonly inUse: number | null;
  /** In the same step. */
  readonly meanWaitSeconds: number | null;
  /** The reasoning, one sentence each. */
  readonly reasoning: readonly string[];
}

/** Facts about the pool and the server. */
export interface PoolSituation {
  readonly steps: readonly PoolLoad[];
  readonly size: number | null;
  readonly instances: number;
  /** Connections of the server that this role may use; `null`: unknown. */
  readonly available: number | null;
}

/** Computes the size of a pool by Little's law and Erlang's formula, of the busiest step of the last hour. */
export function advisePool({ steps, size, instances, available }: PoolSituation): PoolAdvice {
  const busiest = busiestOf(steps);
  const base = { size, instances, available };
  if (!busiest || sum(steps, ({ checkouts }) => checkouts) < LEAST_CHECKOUTS) {
    const none = { suggested: null, wanted: null, arrivalRate: null, meanUseSeconds: null, inUse: null };
    const reasoning = [
      `Fewer than ${LEAST_CHECKOUTS} connections were taken, which is too little for advice.`,
    ];
    return { verdict: 'unknown', ...base, ...none, meanWaitSeconds: null, reasoning };
  }
  const { seconds, checkouts, waitSeconds, useSeconds } = busiest;
  const inUse = useSeconds / seconds;
  const suggested = sizeFor(inUse);
  const wanted = suggested * instances;
  const figures = {
    suggested,
    wanted,
    arrivalRate: checkouts / seconds,
    meanUseSeconds: checkouts > 0 ? useSeconds / checkouts : null,
    inUse,
    meanWaitSeconds: checkouts > 0 ? waitSeconds / checkouts : null,
  };
  const verdict = verdictOf({ size, suggested, wanted, available });
  const advice = { verdict, ...base, ...figures };
  return {
    ...advice,
    reasoning: explainSize(
      advice,
      seconds,
      sum(steps, (step) => step.seconds),
    ),
  };
}

function busiestOf(steps: readonly PoolLoad[]): PoolLoad | undefined {
  return steps
    .filter(({ seconds }) => seconds >= LEAST_SECONDS)
    .sort((a, b) => b.useSeconds / b.seconds - a.useSeconds / a.seconds)[0];
}

function sum(steps: readonly PoolLoad[], read: (step: PoolLoad) => number): number {
  return steps.reduce((all, step) => all + read(step), 0);
}

/** The smallest number of connections with which at most one caller in a hundred waits. */
export function sizeFor(inUse: number): number {
  let size = Math.floor(inUse) + 1;
  while (waitingShare(size, inUse) > WAITING_SHARE) size++;
  return size;
}

/** Erlang's formula (C): the share of callers that wait, by the number of connections and their mean number in use. */
export function waitingShare(size: number, inUse: number): number {
  if (inUse >= size) return 1;
  // The share that a system without a queue would refuse (B), one connection after the other.
  let refused = 1;
  for (let n = 1; n <= size; n++) refused = (inUse * refused) / (n + inUse * refused);
  return refused / (1 - (inUse / size) * (1 - refused));
}

function verdictOf({
  size,
  suggested,
  wanted,
  available,
}: Pick<PoolAdvice, 'size' | 'available'> & {
  readonly suggested: number;
  readonly wanted: number;
}): PoolAdvice['verdict'] {
  if (available !== null && wanted > available) return 'server-limit';
  if (size === null) return 'unknown';
  if (suggested > size) return 'grow';
  return size > 2 * suggested && size - suggested > 5 ? 'shrink' : 'enough';
}

function explainSize(advice: Omit<PoolAdvice, 'reasoning'>, seconds: number, measured: number): string[] {
  const { arrivalRate, meanUseSeconds, meanWaitSeconds, inUse, suggested, size, instances } = advice;
  const lines = [
    `Measured over ${duration(measured)}; its busiest ${duration(seconds)} count.`,
    `Little's law: ${round(arrivalRate)} callers per second × ${millisOf(meanUseSeconds)} in use each = ${round(inUse)} connections in use on average.`,
    `Callers waited ${millisOf(meanWaitSeconds)} on average.`,
    `By Erlang's formula at most 1 in 100 callers waits with ${suggested} connections.`,
    size === null ? 'The size of the pool is unknown.' : `The pool has ${size} (\`max\`).`,
  ];
  if (size !== null && inUse !== null && inUse > 0.8 * size)
    lines.push(
      'The pool was full, so the demand may be higher than it shows. Measure again after the change.',
    );
  const total = `${instances} ${instances === 1 ? 'instance' : 'instances'} × ${suggested} = ${advice.wanted}`;
  lines.push(
    advice.available === null
      ? `${total} connections; how many the server has for them is unknown.`
      : `${total} connections, of ${advice.available} that the server has for this role.`,
  );
  return [...lines, CONCLUSIONS[advice.verdict]];
}

const CONCLUSIONS: Readonly<Record<PoolAdvice['verdict'], string>> = {
  unknown: 'Set `max` of the pool to this number.',
  enough: 'The size fits.',
  grow: 'Raise `max`, or shorten the time that connections are in use.',
  shrink: 'A smaller `max` is enough, and leaves connections of the server to others.',
  'server-limit':
    'Shorten the time in use, run fewer instances, raise `max_connections`, or put PgBouncer in between.',
};

function round(value: number | null): string {
  if (value === null) return '?';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function millisOf(seconds: number | null): string {
  return seconds === null ? '? ms' : `${round(seconds * 1000)} ms`;
}

function duration(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
