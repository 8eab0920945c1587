import type { JobWorkerFigures } from 'hotpath/admin';
import type { JobRecords, Outcome } from '../types.js';

/** Records of jobs that run in this process. */
export function memoryRecords(): JobRecords & { forget(id: string): void } {
  const progress = new Map<string, number>();
  const outcomes = new Map<string, Outcome>();
  return {
    async raise(id, percent) {
      progress.set(id, Math.max(progress.get(id) ?? 0, percent));
      return outcomes.has(id);
    },
    async settle(id, outcome) {
      const first = outcomes.get(id) ?? outcome;
      outcomes.set(id, first);
      return first;
    },
    async read(id) {
      return { progress: progress.get(id) ?? 0, outcome: outcomes.get(id) };
    },
    async beat() {},
    async leave() {},
    async workers(): Promise<JobWorkerFigures[]> {
      return [];
    },
    async sweep() {},
    forget(id) {
      progress.delete(id);
      outcomes.delete(id);
    },
  };
}
