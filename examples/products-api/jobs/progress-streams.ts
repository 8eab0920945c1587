import type { Request, Response } from 'express';
import type { JobEngine, JobStatus } from './types.js';

/** Between two looks at the watched jobs. Milliseconds. */
const LOOK_MS = 300;

/** A proxy may end a connection without bytes. Milliseconds. */
const PULSE_MS = 15_000;

const MAX_STREAMS = 500;

/** A client with this many unread bytes is disconnected; it reconnects by itself. */
const MAX_UNREAD_BYTES = 64 * 1_024;

interface Stream {
  readonly id: string;
  readonly res: Response;
  sent: string;
  sentAt: number;
}

/**
 * Server-sent events about jobs (WHATWG HTML, 9.2). One timer reads the jobs that are watched, for all clients and for
 * all engines, and stops when nobody watches.
 */
export class ProgressStreams {
  readonly #jobs: JobEngine;
  readonly #streams = new Set<Stream>();
  #timer: NodeJS.Timeout | undefined;
  #isReading = false;
  #isClosed = false;

  constructor(jobs: JobEngine) {
    this.#jobs = jobs;
  }

  /** Open streams. */
  get size(): number {
    return this.#streams.size;
  }

  /** Whether the timer runs. */
  get isActive(): boolean {
    return this.#timer !== undefined;
  }

  /** @returns `false` if there are too many, or the server closes. */
  open(req: Request, res: Response, status: JobStatus): boolean {
    if (this.#isClosed || this.#streams.size >= MAX_STREAMS) return false;
    // A client that has the last event reconnects until it gets this status.
    if (isFinal(status) && req.get('Last-Event-ID') === eventId(status)) {
      res.status(204).end();
      return true;
    }
    // no-transform, because an encoder would hold small events back until its buffer is full.
    res.set({
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
    });
    // It has no body, so it would wait for one until the job ends.
    if (req.method === 'HEAD') {
      res.end();
      return true;
    }
    res.write('retry: 2000\n\n');
    const stream: Stream = { id: status.id, res, sent: '', sentAt: Date.now() };
    this.#streams.add(stream);
    res.on('close', () => this.#forget(stream));
    this.#send(stream, status);
    if (this.#streams.size > 0) this.#timer ??= setInterval(() => void this.#look(), LOOK_MS).unref();
    return true;
  }

  /** Ends all streams. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams) this.#end(stream);
  }

  /** It is forgotten at once: before its end is sent, an earlier response on its connection may take long. */
  #end(stream: Stream): void {
    this.#forget(stream);
    stream.res.end();
  }

  #forget(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const ids = [...new Set([...this.#streams].map(({ id }) => id))];
      for (const id of ids) {
        // The next look tries again.
        const status = await this.#jobs.status(id).catch(() => null);
        if (status === null) continue;
        for (const stream of this.#streams) if (stream.id === id) this.#send(stream, status);
      }
    } finally {
      this.#isReading = false;
    }
  }

  #send(stream: Stream, status: JobStatus | undefined): void {
    const { res } = stream;
    if (status === undefined) {
      this.#end(stream);
      return;
    }
    const data = JSON.stringify(status);
    const now = Date.now();
    if (res.writableLength > MAX_UNREAD_BYTES) res.destroy();
    else if (data !== stream.sent) {
      stream.sent = data;
      stream.sentAt = now;
      res.write(`event: status\nid: ${eventId(status)}\ndata: ${data}\n\n`);
    } else if (now - stream.sentAt > PULSE_MS) {
      stream.sentAt = now;
      res.write(': still here\n\n');
    }
    if (isFinal(status)) this.#end(stream);
  }
}

/** Whether a job will not change any more. */
export function isFinal({ state }: JobStatus): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

function eventId({ state, progress }: JobStatus): string {
  return `${state}-${progress}`;
}
