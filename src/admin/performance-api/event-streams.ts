import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { isHttp2 } from '../../exchange/connection.js';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { respondWithProblem } from '../respond.js';
import { endOnShutdown } from '../shutdown/end-on-shutdown.js';

/** Between two events. Milliseconds. */
const INTERVAL = 1000;

/** A stream ends after this time: its client connects again, and is authorized again. Milliseconds. */
const LONGEST_STREAM = 600_000;

/** A client that has not read so much gets no further event until it has. Bytes. */
const MOST_UNREAD_BYTES = 64 * 1024;

/** A client that misses this many events in a row is disconnected. */
const MOST_MISSED = 30;

/** One client. */
interface Listener {
  readonly since: number;
  missed: number;
}

/**
 * Streams of server-sent events: one snapshot a second, made and written as text once for all clients, and only while
 * there are some. Slow clients neither hold up the others nor fill the memory.
 */
export class EventStreams {
  readonly #snapshot: () => unknown;
  readonly #most: number;
  readonly #isOver: () => boolean;
  readonly #listeners = new Map<ServerResponse, Listener>();
  #timer: NodeJS.Timeout | undefined;
  /** The latest event, and when it was made. Milliseconds. */
  #latest = { text: '', at: Number.NEGATIVE_INFINITY };
  #isClosed = false;

  /**
   * @param snapshot makes the data of an event.
   * @param most clients at a time.
   * @param isOver whether there will be no further event.
   */
  constructor(snapshot: () => unknown, most: number, isOver: () => boolean) {
    this.#snapshot = snapshot;
    this.#most = most;
    this.#isOver = isOver;
  }

  /** Begins a stream, or responds with a 503. */
  open(req: IncomingMessage, res: ServerResponse): void {
    if (res.destroyed || res.headersSent) return;
    if (this.#isClosed || this.#isOver() || this.#listeners.size >= this.#most) {
      res.setHeader('Retry-After', '5');
      return respondWithProblem(req, res, 503, 'There are too many event streams, or the server shuts down.');
    }
    res.statusCode = 200;
    if (!isHttp2(req)) res.statusMessage = '';
    res.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Neither a compressor nor a proxy may hold events back.
    res.setHeader('Cache-Control', 'no-store, no-transform');
    res.setHeader('X-Accel-Buffering', 'no');
    if (req.method === 'HEAD') return void res.end();
    this.#listeners.set(res, { since: performance.now(), missed: 0 });
    res.once(
      'close',
      guarded('event streams', () => this.#listeners.delete(res)),
    );
    endOnShutdown(req, res, () => this.#end(res));
    // Many clients may come at once, after a restart for example. They share an event too.
    const isRecent = performance.now() - this.#latest.at < INTERVAL;
    res.write(`retry: 2000\n\n${isRecent ? this.#latest.text : this.#event()}`);
    const tick = guarded('event streams', () => this.#tick());
    this.#timer ??= runInOwnContext(() => setInterval(tick, INTERVAL).unref());
  }

  /** Clients at the moment. */
  get size(): number {
    return this.#listeners.size;
  }

  /** Ends all streams; further ones get a 503. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#endAll();
  }

  #tick(): void {
    if (this.#isOver()) return this.#endAll();
    if (this.#listeners.size === 0) return this.#stop();
    const event = this.#event();
    const now = performance.now();
    for (const [res, listener] of this.#listeners) {
      if (res.writableLength > MOST_UNREAD_BYTES) {
        if (++listener.missed >= MOST_MISSED) res.destroy();
        continue;
      }
      listener.missed = 0;
      res.write(event);
      if (now - listener.since > LONGEST_STREAM) this.#end(res);
    }
  }

  #event(): string {
    const text = `event: snapshot\ndata: ${JSON.stringify(this.#snapshot())}\n\n`;
    this.#latest = { text, at: performance.now() };
    return text;
  }

  #end(res: ServerResponse): void {
    this.#listeners.delete(res);
    res.end();
  }

  #endAll(): void {
    this.#stop();
    for (const res of [...this.#listeners.keys()]) this.#end(res);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
