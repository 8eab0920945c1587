import type { WarmingTaskFigures } from '../../../../warming/task.js';
import type { Shown } from '../answers.js';
import { byId, setShown, setText, TextTable } from '../dom.js';
import { NOTHING, showAgo, showCount, showDuration } from '../format.js';

/** The tasks that warm the cache. */
export class WarmingPanel {
  readonly #table = new TextTable(byId('warming'), ['', 'number', 'number', 'number', 'number']);

  show({ warming: tasks }: Shown): void {
    if (!tasks) return;
    const now = Date.now();
    this.#table.show(
      tasks.map((task) => [
        task.name,
        `${task.name}${task.critical ? ' (critical)' : ''}`,
        showCount(task.execution_count),
        showCount(task.failure_count),
        showDuration(task.last_duration_seconds),
        task.running ? 'running' : lastRun(task, now),
      ]),
    );
    const failing = tasks.find(({ last_error }) => last_error);
    setText(byId('warming-hint'), failing ? `${failing.name}: ${failing.last_error}` : '');
    setShown(byId('warming-table'), tasks.length > 0);
    setShown(byId('warming-empty'), tasks.length === 0);
  }
}

function lastRun({ last_run: at, last_run_elsewhere: elsewhere }: WarmingTaskFigures, now: number): string {
  if (at === null && elsewhere === null) return NOTHING;
  const place = (elsewhere ?? 0) > (at ?? 0) ? ' on another instance' : '';
  return `${showAgo(Math.max(0, now - Math.max(at ?? 0, elsewhere ?? 0)) / 1000)}${place}`;
}
