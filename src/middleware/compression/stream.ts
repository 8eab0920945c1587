import type { ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { reportFault } from '../../exchange/run-listeners.js';
import { guarded } from '../../runtime/guard.js';

const RESPONSE = Symbol('hotpath.compressed-response');
type Mark = (() => void) & { [RESPONSE]?: ServerResponse };

/**
 * Lets `destroyStream` find the response of a stream. The `compression` package shows its streams to nobody, but
 * hands listeners of `drain` on to them.
 */
export function ownStream(res: ServerResponse): void {
  const mark: Mark = guarded('compression', () => {});
  mark[RESPONSE] = res;
  res.on('drain', mark);
}

/** A listener of `drain` that was there before the stream. */
export interface Waiting {
  readonly listener: (...args: unknown[]) => void;
  readonly isOnce: boolean;
}

/** Takes those who wait for `drain` off the response, so that they can wait for a stream's. */
export function takeDrains(res: ServerResponse): readonly Waiting[] {
  if (res.listenerCount('drain') === 0) return [];
  const waiting: Waiting[] = [];
  for (const raw of res.rawListeners('drain') as (Waiting['listener'] & {
    listener?: Waiting['listener'];
  })[]) {
    waiting.push({ listener: raw.listener ?? raw, isOnce: raw.listener !== undefined });
    res.removeListener('drain', raw.listener ?? raw);
  }
  return waiting;
}

/**
 * The `destroy` of a stream that compresses a response. The package listens to no errors of its streams: one,
 * such as for want of memory, would end the process. It ends the response instead, whose head has gone.
 */
export function destroyStream(
  this: Transform,
  error: Error | null,
  callback: (error?: Error | null) => void,
): void {
  const { _destroy: destroy } = Object.getPrototypeOf(this) as Transform;
  destroy.call(this, error, () => {
    if (error) {
      reportFault('compression', error);
      for (const listener of this.listeners('drain')) (listener as Mark)[RESPONSE]?.destroy();
    }
    callback(null);
  });
}
