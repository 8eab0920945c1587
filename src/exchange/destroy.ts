import type { ServerResponse } from 'node:http';

/**
 * Calls `listener` when the app itself gives the response up, as a `pipeline` into it does when its source
 * fails. A client that leaves does not: Node closes the response without `destroy`.
 */
export function onDestroy(res: ServerResponse, listener: () => void): void {
  const { destroy } = res;
  res.destroy = function (this: ServerResponse, error?: Error): ServerResponse {
    listener();
    return destroy.call(this, error) as ServerResponse;
  };
}
