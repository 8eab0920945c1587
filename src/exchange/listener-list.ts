/**
 * The listeners of one moment, in their order. Most moments have one or none, and every request has several
 * moments: a chain of nodes takes less memory than arrays, which grow by sixteen places at once.
 */
export interface Listening<Listener> {
  readonly listener: Listener;
  next: Listening<Listener> | undefined;
}

/** The chain with a listener added at its end. */
export function withListener<Listener>(
  first: Listening<Listener> | undefined,
  listener: Listener,
): Listening<Listener> {
  const added = { listener, next: undefined };
  if (!first) return added;
  let last = first;
  while (last.next) last = last.next;
  last.next = added;
  return first;
}

/** The chain without a listener; whoever is on the way along it goes on as before. */
export function withoutListener<Listener>(
  first: Listening<Listener> | undefined,
  listener: Listener,
): Listening<Listener> | undefined {
  if (first?.listener === listener) return first.next;
  for (let at = first; at?.next; at = at.next) {
    if (at.next.listener !== listener) continue;
    at.next = at.next.next;
    break;
  }
  return first;
}
