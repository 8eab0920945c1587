import type { ServerResponse } from 'node:http';

type Listener = (this: unknown, ...args: unknown[]) => void;
type Add = (this: ServerResponse, type: string | symbol, listener: Listener) => ServerResponse;

/**
 * Lets listeners of `drain` go.
 *
 * The `compression` package hands them to its own stream, where Node's `once` and `removeListener`, which look
 * on the response, can't take them away again: each round of a loop that writes until `false` and waits would
 * leave one behind.
 */
export function releaseDrainListeners(res: ServerResponse): void {
  const { on, once, removeListener } = res as unknown as Record<'on' | 'once' | 'removeListener', Add>;
  let gone: WeakSet<Listener> | undefined; // made for those who wait: most responses are written at once
  const adder = (isOnce: boolean): Add =>
    function (type, listener) {
      gone?.delete(listener);
      return on.call(this, type, function drained(...args) {
        const emitter = this as ServerResponse;
        const isGone = gone?.has(listener) === true;
        if (isOnce || isGone) emitter.removeListener(type as string, drained);
        if (!isGone) listener.apply(res, args);
      });
    };
  const onDrain = adder(false);
  const onceDrain = adder(true);
  const remove: Add = function (type, listener) {
    if (type === 'drain') (gone ??= new WeakSet()).add(listener);
    return removeListener.call(this, type, listener);
  };
  const methods: Record<string, Add> = {
    on(type, listener) {
      return (type === 'drain' ? onDrain : on).call(this, type, listener);
    },
    once(type, listener) {
      return (type === 'drain' ? onceDrain : once).call(this, type, listener);
    },
    removeListener: remove,
    off: remove,
  };
  Object.assign(res, methods);
}
