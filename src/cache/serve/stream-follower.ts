import { AsyncResource } from 'node:async_hooks';
import type { Exchange } from '../../exchange/exchange.js';
import type { ForwardReason } from '../../http/cache-status.js';
import { guarded } from '../../runtime/guard.js';
import type { StreamingFill } from '../collapse/streaming-fill.js';
import { mayShareWith } from '../lookup/lookup.js';
import type { MiddlewareRequest } from '../request/cache-request.js';
import type { CacheState } from '../state.js';
import { visibleKey } from './cache-status.js';
import { computeTtl, readConditions, writeHead } from './serve-stored.js';

/** Whether a request may follow a response whose body is still being received. */
export function canFollowStream(
  state: CacheState,
  request: MiddlewareRequest,
  running: StreamingFill,
): boolean {
  const { log, equivalents } = state;
  const { exchange, keys } = request;
  const { head } = running;
  if (!mayShareWith(state, request, head)) return false;
  // Something was purged since the fill began, and the handler may still add matching tags. Only the end shows.
  if (log.position !== head.stamp) return false;
  // If the handler sets no tag, hotpath generates one from the complete body.
  if (exchange.req.headers['if-none-match'] !== undefined && head.etag === undefined) return false;
  return equivalents.matches(keys, head, exchange.req);
}

/** Responds with the head of a fill in flight, and with its body as it arrives, at the client's own pace. */
export function followStream(
  state: CacheState,
  request: MiddlewareRequest,
  running: StreamingFill,
  missed: ForwardReason,
): void {
  const { exchange, rule } = request;
  const { head, length } = running;
  const status = {
    fwd: missed,
    collapsed: true,
    ttl: computeTtl(state, head),
    key: visibleKey(state, request),
  };
  const use = { result: 'HIT', status } as const;
  if (writeHead(state, exchange, { head, length }, rule, readConditions(exchange.req), use))
    exchange.res.end();
  else new StreamFollower(state, exchange, running).start();
}

/** One client that follows a fill in flight. */
class StreamFollower {
  readonly #state: CacheState;
  readonly #exchange: Exchange;
  readonly #running: StreamingFill;
  readonly #isPristine: boolean;
  #next = 0;
  #sent = 0;
  #isHeld = false;
  #leave: () => void = () => {};

  constructor(state: CacheState, exchange: Exchange, running: StreamingFill) {
    this.#state = state;
    this.#exchange = exchange;
    this.#running = running;
    this.#isPristine = exchange.isUnpatched;
  }

  start(): void {
    const { res } = this.#exchange;
    res.flushHeaders();
    // Node emits it in the context of the connection, which may serve several requests.
    const pump = AsyncResource.bind(() => {
      this.#isHeld = false;
      this.#pump();
    });
    const onDrain = guarded('following', pump);
    res.on('drain', onDrain);
    this.#leave = this.#running.add(() => this.#pump());
    this.#exchange.onClose(() => this.#leave());
    this.#pump();
  }

  #pump(): void {
    const { res, ended, closed } = this.#exchange;
    if (ended || closed) return;
    try {
      this.#send();
    } catch (error) {
      this.#state.fault(error, 'following');
      res.destroy();
    }
  }

  #send(): void {
    const { res } = this.#exchange;
    const { body, isBroken, chunks, length } = this.#running;
    if (isBroken) {
      // An incomplete response must not look complete.
      this.#leave();
      res.destroy();
      return;
    }
    if (body) {
      this.#leave();
      res.end(this.#own(body.subarray(this.#sent)));
      return;
    }
    while (!this.#isHeld && this.#next < chunks.length) {
      // The last byte is held back until the end: if the body is aborted or too long, the response must look
      // incomplete.
      const piece = chunks[this.#next++]!.subarray(0, length - 1 - this.#sent);
      if (piece.length === 0) continue;
      this.#sent += piece.length;
      this.#isHeld = res.write(this.#own(piece)) === false; // some adapters return nothing, and never drain
    }
  }

  /**
   * A middleware that patched the response may modify the buffer, so it gets a copy. The recording must not change.
   */
  #own(bytes: Buffer): Buffer {
    return this.#isPristine ? bytes : Buffer.from(bytes);
  }
}
