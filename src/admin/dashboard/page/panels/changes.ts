import type { FollowedTable } from '../../../../postgres/changes/followed-tables.js';
import type { ChangeFigures } from '../../../../postgres/changes/follower.js';
import type { Shown } from '../answers.js';
import { byId, FactList, KeyedList, setShown, setText, textRow } from '../dom.js';
import { showAgo, showCount, showDuration } from '../format.js';

const MOST_ROWS = 20;

/** Purges that follow the tables of the database. */
export class ChangePanel {
  readonly #facts = new FactList(byId('changes-facts'));
  readonly #tables = new KeyedList<FollowedTable>(
    byId('changes-tables'),
    ({ table }) => table,
    () => tableView(),
  );

  show({ database }: Shown): void {
    const changes = database?.changes;
    setShown(byId('changes-part'), changes != null);
    if (!changes) return;
    setText(byId('changes-state'), describeState(changes));
    this.#facts.show(factsOf(changes));
    this.#tables.show(changes.tables.slice(0, MOST_ROWS));
  }
}

function describeState({ state, reason, tables }: ChangeFigures): string {
  const texts: Record<ChangeFigures['state'], string> = {
    starting: 'The reader of changes is starting.',
    following: `The cache follows ${tables.length === 1 ? 'one table' : `${showCount(tables.length)} tables`}.`,
    incomplete: 'The cache does not follow all tables.',
    lost: 'The database cannot be polled, so entries are used for maxStaleness at most.',
    closed: 'The reader of changes is closed.',
  };
  return reason === null ? texts[state] : `${texts[state]} ${reason}`;
}

function factsOf(changes: ChangeFigures): (readonly [name: string, value: string])[] {
  const { lastPollAt, lagSeconds, polls, records, rows, purges, fullPurges, failures, isShared } = changes;
  return [
    ['Last read', lastPollAt === null ? 'never' : showAgo((Date.now() - lastPollAt) / 1000)],
    ['Behind the database', showDuration(lagSeconds)],
    ['Polls', showCount(polls)],
    ['Records, with their rows', `${showCount(records)}, ${showCount(rows)}`],
    ['Selectors that were purged', showCount(purges)],
    ['Purges of everything', showCount(fullPurges)],
    ['Connections that failed', showCount(failures)],
    ['Read by', isShared ? 'one instance for all' : 'each instance'],
  ];
}

/** As people write it: `"public"."sales"` is `sales`. */
function unquoteTable(table: string): string {
  return table.replace(/"([a-z_][a-z\d_]*)"/g, '$1').replace(/^public\./, '');
}

function tableView() {
  const { row, cells } = textRow(['sql', '', 'number wide', 'number', 'number']);
  const [name, state, records, rows, purges] = cells as [
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  return {
    node: row,
    update: (table: FollowedTable) => {
      setText(name, unquoteTable(table.table));
      setText(state, table.state);
      setText(records, showCount(table.records));
      setText(rows, showCount(table.rows));
      setText(purges, showCount(table.purges));
    },
  };
}
