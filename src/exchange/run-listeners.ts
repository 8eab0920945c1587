import { reportFault } from '../runtime/report-fault.js';

export { reportFault };

/** Runs one listener of an event. Reports its exception. */
export function runGuarded<Subject>(
  listener: (subject: Subject) => void,
  subject: Subject,
  event: string,
): void {
  try {
    listener(subject);
  } catch (error) {
    reportFault(event, error);
  }
}

/** Runs the listeners of an event, including those that are added meanwhile. */
export function runAll<Subject>(
  listeners: readonly ((subject: Subject) => void)[] | undefined,
  subject: Subject,
  event: string,
): void {
  if (listeners) for (const listener of listeners) runGuarded(listener, subject, event);
}

/** Adds a listener to a list. Most events have at most one listener, so the list is created late. */
export function withListener<Listener>(listeners: Listener[] | undefined, listener: Listener): Listener[] {
  if (!listeners) return [listener];
  listeners.push(listener);
  return listeners;
}
