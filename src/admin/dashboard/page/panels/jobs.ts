import type { Shown } from '../answers.js';
import { byId, FactList, setShown, setText, TextTable } from '../dom.js';
import { showAgo, showBytes, showCores, showCount, showDuration } from '../format.js';

/** The queue of background jobs, and the processes that run them. Hidden where the app gives no figures of them. */
export class JobPanel {
  readonly #panel = byId('jobs-panel');
  readonly #facts = new FactList(byId('jobs-facts'));
  readonly #workers = new TextTable(byId('jobs-workers'), [
    '',
    'number',
    'number',
    'number wide',
    'number wide',
  ]);

  show({ jobs }: Shown): void {
    if (!jobs) return;
    setShown(this.#panel, jobs.isOn);
    const { queue } = jobs;
    setShown(byId('jobs-trouble'), jobs.isOn && !queue);
    setText(byId('jobs-hint'), queue ? queue.queue : '');
    if (!queue) return;
    const { durations, workers, workerCount } = queue;
    this.#facts.show([
      ['Waiting', showCount(queue.waitingCount)],
      ['Running', showCount(queue.runningCount)],
      ['Delayed', showCount(queue.delayedCount)],
      ['Completed', showCount(queue.completedCount)],
      ['Failed', showCount(queue.failedCount)],
      ['Median duration', showDuration(durations?.p50)],
      ['Duration p95', showDuration(durations?.p95)],
      ['Workers', showCount(workerCount)],
    ]);
    const now = Date.now();
    this.#workers.show(
      workers.map((worker) => [
        worker.id,
        `${worker.host}, process ${worker.pid}`,
        `${showCount(worker.runningCount)} of ${showCount(worker.maxCount)}`,
        showAgo(Math.max(0, now - worker.beatAt) / 1000),
        showCores(worker.cpuCores),
        showBytes(worker.memoryBytes),
      ]),
    );
    setShown(byId('jobs-table'), workers.length > 0);
  }
}
