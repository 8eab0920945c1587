import { reportFault } from '../runtime/report-fault.js';

export { reportFault };

/** Runs one listener of an event; what it throws is reported and goes no further. */
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

/** Runs the listeners of an event; those that are added meanwhile as well. */
export function runAll<Subject>(
  listeners: readonly ((subject: Subject) => void)[] | undefined,
  subject: Subject,
  event: string,
): void {
  if (listeners) for (const listener of listeners) runGuarded(listener, subject, event);
}

/** The listeners of an event with another at their end. Most events have one or none, so a list is made late. */
export function withListener<Listener>(listeners: Listener[] | undefined, listener: Listener): Listener[] {
  if (!listeners) return [listener];
  listeners.push(listener);
  return listeners;
}
