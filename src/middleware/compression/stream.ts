import type { ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { reportFault } from '../../exchange/run-listeners.js';
import { guarded } from '../../runtime/guard.js';

const RESPONSE = Symbol('hotpath.compressed-response');
type Mark = (() => void) & { [RESPONSE]?: ServerResponse };

/**
 * Lets `destroyStream` find the response of a stream. The `compression` package does not expose its streams,
 * but passes `drain` listeners to them.
 */
export function ownStream(res: ServerResponse): void {
  const mark: Mark = guarded('compression', () => {});
  mark[RESPONSE] = res;
  res.on('drain', mark);
}

/** A `drain` listener that was added before the stream existed. */
export interface Waiting {
  readonly listener: (...args: unknown[]) => void;
  readonly isOnce: boolean;
}

/** Removes the `drain` listeners of the response, so that they can be added to a stream. */
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
 * The `destroy` of a stream that compresses a response. The package does not listen for errors of its
 * streams, so an error, such as a lack of memory, would end the process. Instead it ends the response, whose
 * headers were already sent.
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
