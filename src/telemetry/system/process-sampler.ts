import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { type EventLoopFigures, EventLoopWatch } from './event-loop.js';
import { type GarbageFigures, GarbageWatch } from './garbage-collector.js';

/** This process over the last window. */
export interface ProcessFigures {
  /** CPU time per second, in cores: 1 is one core all the time. */
  readonly cpuCores: number;
  /** Resident memory. Bytes. */
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly heapTotalBytes: number;
  /** The heap may grow so far before the process ends (`heap_size_limit` of V8). Bytes. */
  readonly heapLimitBytes: number;
  /** Memory of objects of C++, buffers among it. Bytes. */
  readonly externalBytes: number;
  readonly eventLoop: EventLoopFigures;
  readonly gc: GarbageFigures;
}

/** Reads the figures of this process, window by window. */
export class ProcessSampler {
  readonly #eventLoop = new EventLoopWatch();
  readonly #garbage = new GarbageWatch();
  #cpu = process.cpuUsage();
  #at = performance.now();

  /** Ends the window and begins the next. */
  rotate(): ProcessFigures {
    const now = performance.now();
    const cpu = process.cpuUsage();
    const usedMs = (cpu.user + cpu.system - this.#cpu.user - this.#cpu.system) / 1000;
    const windowMs = now - this.#at;
    this.#cpu = cpu;
    this.#at = now;
    const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
    return {
      cpuCores: windowMs > 0 ? usedMs / windowMs : 0,
      rssBytes: rss,
      heapUsedBytes: heapUsed,
      heapTotalBytes: heapTotal,
      heapLimitBytes: getHeapStatistics().heap_size_limit,
      externalBytes: external,
      eventLoop: this.#eventLoop.rotate(),
      gc: this.#garbage.rotate(),
    };
  }

  /** Idempotent. */
  close(): void {
    this.#eventLoop.close();
    this.#garbage.close();
  }
}
