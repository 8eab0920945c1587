import type { Shown } from '../answers.js';
import { byId, FactList, setShown } from '../dom.js';
import { showCount } from '../format.js';

/** The pool of database connections. */
export class DatabasePanel {
  readonly #facts = new FactList(byId('database-facts'));

  show({ pool }: Shown): void {
    if (pool === undefined) return;
    setShown(byId('database-empty'), pool === null);
    this.#facts.show(
      pool === null
        ? []
        : [
            ['Connections', showCount(pool.totalCount)],
            ['In use', showCount(pool.activeCount)],
            ['Idle', showCount(pool.idleCount)],
            ['Queries that wait', showCount(pool.waitingCount)],
            [
              'Saturated',
              pool.isSaturated === null ? 'unknown' : pool.isSaturated ? 'yes: all in use' : 'no',
            ],
          ],
    );
  }
}
