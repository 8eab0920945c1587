import { reportFault } from '../runtime/report-fault.js';
import type { ListenerNode } from './listener-list.js';

export { reportFault };

/** Runs one listener of a moment; what it throws is reported and goes no further. */
export function runGuarded<Subject>(
  listener: (subject: Subject) => void,
  subject: Subject,
  moment: string,
): void {
  try {
    listener(subject);
  } catch (error) {
    reportFault(moment, error);
  }
}

/** Runs the listeners of a moment; those that are added meanwhile as well. */
export function runAll<Subject>(
  first: ListenerNode<(subject: Subject) => void> | undefined,
  subject: Subject,
  moment: string,
): void {
  for (let at = first; at; at = at.next) runGuarded(at.listener, subject, moment);
}
