import { EventEmitter } from 'node:events';
import { BroadcastChannel, type Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import type { Family } from '../../../src/telemetry/exposition/families.js';
import {
  type MetricsQuestion,
  makeAnswer,
  THREADS_CHANNEL,
} from '../../../src/telemetry/workers/messages.js';
import { WorkerCollector, type WorkerCount } from '../../../src/telemetry/workers/worker-collector.js';

const closing: { close(): void }[] = [];
afterEach(() => {
  for (const each of closing.splice(0)) each.close();
});

const counter = (value: number): Family => ({
  name: 'c',
  help: 'c',
  type: 'counter',
  aggregator: 'sum',
  samples: [{ name: 'c', labels: '', value }],
});

/** A collector and a stand-in for a worker thread, which gives these answers in turn. */
function serve(...answers: (readonly Family[] | undefined | 'noise')[]) {
  const collector = new WorkerCollector(10_000);
  const worker = Object.assign(new EventEmitter(), { threadId: 4711 });
  collector.watch(worker as unknown as Worker);
  const channel = new BroadcastChannel(THREADS_CHANNEL);
  closing.push(collector, channel);
  channel.onmessage = (event: unknown) => {
    const { ask } = (event as { data: MetricsQuestion }).data;
    const answer = answers.shift();
    const message = makeAnswer(ask, answer === 'noise' ? [] : answer, 4711);
    channel.postMessage(answer === 'noise' ? { ...message, families: [{ samples: 5 }] } : message);
  };
  const collect = async () => {
    let answered = -1;
    const own = async (count: WorkerCount) => {
      ({ answered } = count);
      return [];
    };
    const families = await collector.collect(own);
    return [answered, families[0]?.samples[0]?.value];
  };
  return { collect };
}

describe('a worker whose metrics could not be read', () => {
  it('counts with its last counters, and gets the next question', async () => {
    const { collect } = serve([counter(3)], undefined, 'noise', [counter(5)]);
    expect(await collect()).toEqual([1, 3]);
    expect(await collect()).toEqual([0, 3]);
    expect(await collect()).toEqual([0, 3]);
    expect(await collect()).toEqual([1, 5]);
  });
});
