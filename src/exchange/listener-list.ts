/**
 * The listeners of one moment, in their order. Most moments have one or none, and every request has several
 * moments: a chain of nodes takes less memory than arrays, which grow by sixteen places at once.
 */
export interface ListenerNode<Listener> {
  readonly listener: Listener;
  next: ListenerNode<Listener> | undefined;
}

/** The chain with a listener added at its end. */
export function withListener<Listener>(
  first: ListenerNode<Listener> | undefined,
  listener: Listener,
): ListenerNode<Listener> {
  const added = { listener, next: undefined };
  if (!first) return added;
  let last = first;
  while (last.next) last = last.next;
  last.next = added;
  return first;
}

/** The chain without a listener; whoever is on the way along it goes on as before. */
export function withoutListener<Listener>(
  first: ListenerNode<Listener> | undefined,
  listener: Listener,
): ListenerNode<Listener> | undefined {
  if (first?.listener === listener) return first.next;
  for (let at = first; at?.next; at = at.next) {
    if (at.next.listener !== listener) continue;
    at.next = at.next.next;
    break;
  }
  return first;
}
