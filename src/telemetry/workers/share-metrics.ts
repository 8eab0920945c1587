import cluster from 'node:cluster';
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';
import type { Registry } from 'prom-client';
import { guarded, unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { readFamilies } from '../exposition/families.js';
import { isQuestion, type MetricsAnswer, makeAnswer, THREADS_CHANNEL } from './messages.js';

type Send = (answer: MetricsAnswer) => void;

/**
 * Shows the metrics of a registry to `collectWorkerMetrics`: a worker of `node:cluster` to its primary, a worker thread
 * to the threads of its process. Elsewhere it does nothing. It does not keep a thread alive.
 *
 * @param registry `perf.metrics.registry`.
 * @returns a function that ends it; idempotent.
 */
export function shareMetrics(registry: Registry): () => void {
  if (!isMainThread) return shareInThread(registry);
  return cluster.isWorker ? shareInCluster(registry) : () => {};
}

function shareInThread(registry: Registry): () => void {
  const channel = new BroadcastChannel(THREADS_CHANNEL);
  (channel as unknown as { unref(): void }).unref();
  const send: Send = (answer) => channel.postMessage(answer);
  channel.onmessage = guarded('metrics', (event: unknown) =>
    answer(registry, (event as { data: unknown }).data, send, threadId),
  );
  send(makeAnswer('ready', [], threadId));
  return () => channel.close();
}

function shareInCluster(registry: Registry): () => void {
  // Without a callback, a failure is an event `error` that ends the process: the primary may be gone.
  const send: Send = (message) => void process.send?.(message, undefined, {}, () => {});
  const onMessage = guarded('metrics', (message: unknown) => answer(registry, message, send));
  process.on('message', onMessage);
  send(makeAnswer('ready', []));
  return () => void process.off('message', onMessage);
}

function answer(registry: Registry, message: unknown, send: Send, thread?: number): void {
  if (!isQuestion(message)) return;
  const { ask } = message;
  const answered = readFamilies(registry).then(
    (families) => send(makeAnswer(ask, families, thread)),
    (error: unknown) => {
      reportFault('metrics', error);
      // Without a reply the collector would send no further question.
      send(makeAnswer(ask, undefined, thread));
    },
  );
  void unawaited(answered, 'metrics');
}
