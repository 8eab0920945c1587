import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import { BroadcastChannel, type Worker as WorkerThread } from 'node:worker_threads';
import { guarded } from '../../runtime/guard.js';
import { EventLoopYielder } from '../exposition/event-loop-yielder.js';
import type { Family } from '../exposition/families.js';
import { cumulativeOf, MergedFamilies } from './merged-families.js';
import {
  isAnswer,
  type MetricsAnswer,
  makeQuestion,
  readWrittenFamily,
  THREADS_CHANNEL,
} from './messages.js';

/** A worker that is there. */
interface Peer {
  readonly key: string;
  ask(question: number): void;
}

/** Workers of one collection. */
export interface WorkerCount {
  readonly expected: number;
  /** They replied in time. */
  readonly answered: number;
}

/** Samples of workers that are gone; further ones are dropped. */
const MOST_SAMPLES_OF_GONE = 50_000;

/**
 * Asks workers of `node:cluster` and worker threads for their metrics. A worker that does not reply in time counts
 * with the counters of its last reply, and so does a dead one, for ever. To Prometheus, a sum that falls looks like a
 * restart, and then like a leap.
 */
export class WorkerCollector {
  readonly #timeoutMs: number;
  readonly #threads = new Map<number, WorkerThread>();
  /** Questions without a reply, by worker: there is one at most, so nothing piles up before a blocked one. */
  readonly #open = new Map<string, number>();
  /** The last reply of each worker that had metrics. */
  readonly #last = new Map<string, readonly Family[]>();
  /** Workers whose latest reply had none. */
  readonly #unreadable = new Set<string>();
  readonly #gone = new MergedFamilies(MOST_SAMPLES_OF_GONE);
  #channel: BroadcastChannel | undefined;
  #questions = 0;
  #answered: (() => void) | undefined;
  readonly #onMessage = guarded('metrics', (worker: ClusterWorker, message: unknown) => {
    if (isAnswer(message)) this.#receive(clusterKey(worker), message);
  });
  readonly #onExit = guarded('metrics', (worker: ClusterWorker) => this.#forget(clusterKey(worker)));

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    cluster.on('message', this.#onMessage);
    cluster.on('exit', this.#onExit);
  }

  /** Adds a worker thread, until it exits. */
  watch(worker: WorkerThread): void {
    const { threadId } = worker;
    if (threadId < 0 || this.#threads.has(threadId)) return; // it has exited
    this.#openChannel();
    this.#threads.set(threadId, worker);
    worker.once(
      'exit',
      guarded('metrics', () => {
        this.#threads.delete(threadId);
        this.#forget(threadKey(threadId));
      }),
    );
  }

  /** One at a time. @param own metrics of the process itself, by the workers that replied. */
  async collect(own: (count: WorkerCount) => Promise<readonly Family[]>): Promise<Family[]> {
    const peers = this.#peers();
    const question = ++this.#questions;
    for (const { key, ask } of peers) {
      if (this.#open.has(key)) continue;
      this.#open.set(key, question);
      ask(question);
    }
    await this.#untilAnswered(peers);
    // One that has exited meanwhile has no last reply.
    const isFresh = (key: string) =>
      !this.#open.has(key) && this.#last.has(key) && !this.#unreadable.has(key);
    const fresh = new Set(peers.map(({ key }) => key).filter(isFresh));
    const merged = new MergedFamilies();
    const yielder = new EventLoopYielder();
    const add = async (families: readonly Family[]) => {
      for (const family of families) {
        merged.add(family);
        if (yielder.isDue) await yielder.yield();
      }
    };
    await add(await own({ expected: peers.length, answered: fresh.size }));
    // Both at the same time: a worker that exits moves from one to the other.
    const last = [...this.#last];
    const gone = this.#gone.list();
    for (const [key, families] of last) await add(fresh.has(key) ? families : cumulativeOf(families));
    await add(gone);
    return merged.list();
  }

  /** Idempotent. */
  close(): void {
    cluster.off('message', this.#onMessage);
    cluster.off('exit', this.#onExit);
    this.#channel?.close();
    this.#channel = undefined;
    this.#threads.clear();
    this.#last.clear();
    this.#unreadable.clear();
    this.#open.clear();
    this.#answered?.();
  }

  #peers(): Peer[] {
    const inCluster = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected());
    return [
      ...inCluster.map((worker) => ({
        key: clusterKey(worker!),
        // Without a callback, a failure is an event `error` of the worker.
        ask: (question: number) => void worker!.process.send(makeQuestion(question), undefined, {}, () => {}),
      })),
      ...[...this.#threads.keys()].map((threadId) => ({
        key: threadKey(threadId),
        ask: (question: number) => this.#channel?.postMessage(makeQuestion(question)),
      })),
    ];
  }

  /** Resolves when no worker has an open question, or when the time is over. */
  #untilAnswered(peers: readonly Peer[]): Promise<void> {
    const isDone = () => peers.every(({ key }) => !this.#open.has(key));
    if (isDone()) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = guarded('metrics', () => {
        clearTimeout(timer);
        this.#answered = undefined;
        resolve();
      });
      const timer = setTimeout(finish, this.#timeoutMs);
      timer.unref();
      this.#answered = () => {
        if (isDone()) finish();
      };
    });
  }

  #receive(key: string, { answer, families }: MetricsAnswer): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    if (answer === 'ready') {
      // The question came before it listened.
      this.#peers()
        .find((peer) => peer.key === key)
        ?.ask(open);
      return;
    }
    if (open !== answer) return;
    this.#open.delete(key);
    this.#unreadable.add(key);
    try {
      if (!families) return;
      this.#last.set(key, families.map(readWrittenFamily));
      this.#unreadable.delete(key);
    } finally {
      this.#answered?.();
    }
  }

  #forget(key: string): void {
    for (const family of cumulativeOf(this.#last.get(key) ?? [])) this.#gone.add(family);
    this.#last.delete(key);
    this.#unreadable.delete(key);
    this.#open.delete(key);
    this.#answered?.();
  }

  #openChannel(): void {
    if (this.#channel) return;
    this.#channel = new BroadcastChannel(THREADS_CHANNEL);
    (this.#channel as unknown as { unref(): void }).unref();
    this.#channel.onmessage = guarded('metrics', (event: unknown) => {
      const { data } = event as { data: unknown };
      if (isAnswer(data) && this.#threads.has(data.threadId ?? -1))
        this.#receive(threadKey(data.threadId!), data);
    });
  }
}

const clusterKey = ({ id }: ClusterWorker) => `worker ${id}`;
const threadKey = (threadId: number) => `thread ${threadId}`;
