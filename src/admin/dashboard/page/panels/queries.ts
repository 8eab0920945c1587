import type {
  NPlusOneFigures,
  SlowQueryFigures,
  StatementFigures,
} from '../../../../postgres/monitor/figures.js';
import type { Shown } from '../answers.js';
import { byId, KeyedList, make, setShown, setText, textRow } from '../dom.js';
import { showAgo, showCount, showDuration, showShare } from '../format.js';

const MOST_ROWS = 8;

/** A statement with its share of the time of all. */
interface StatementRow extends StatementFigures {
  readonly share: number;
}

/** The statements that take the most time, the slowest queries, and those that single requests repeat. */
export class QueryPanel {
  readonly #statements = new KeyedList<StatementRow>(
    byId('statements'),
    ({ text }) => text,
    () => statementView(),
  );
  readonly #slow = new KeyedList<SlowQueryFigures>(byId('slow-queries'), keyOfSlow, () => slowView());
  readonly #repeated = new KeyedList<NPlusOneFigures>(
    byId('repeated'),
    ({ method, route, text }) => `${method} ${route} ${text}`,
    () => repeatedView(),
  );

  show({ database }: Shown): void {
    const monitor = database?.monitor;
    if (!monitor) return;
    const { statements, slowQueries, nPlusOne } = monitor;
    const all = statements.reduce((sum, { seconds }) => sum + seconds, 0);
    const rows = statements.slice(0, MOST_ROWS);
    this.#statements.show(rows.map((row) => ({ ...row, share: all > 0 ? row.seconds / all : 0 })));
    this.#slow.show(worstOfEach(slowQueries).slice(0, MOST_ROWS));
    this.#repeated.show(nPlusOne.slice(0, 3));
    setShown(byId('queries-part'), rows.length > 0);
    setShown(byId('slow-queries-part'), slowQueries.length > 0);
    setShown(byId('repeated-part'), nPlusOne.length > 0);
  }
}

function keyOfSlow({ text, route }: SlowQueryFigures): string {
  return `${text} ${route ?? ''}`;
}

/** The slowest query of each statement and route: they are sorted, and many are alike. */
function worstOfEach(queries: readonly SlowQueryFigures[]): SlowQueryFigures[] {
  const worst = new Map<string, SlowQueryFigures>();
  for (const query of queries) if (!worst.has(keyOfSlow(query))) worst.set(keyOfSlow(query), query);
  return [...worst.values()];
}

function statementView() {
  const { row, cells } = textRow(['sql', 'bar-cell', 'number wide', 'number', 'number wide']);
  const [text, share, queries, mean, p95] = cells as [
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  const fill = make('span', 'bar-fill');
  const percent = make('span', 'number');
  share.append(make('div', 'bar-line', make('span', 'bar-track', fill), percent));
  return {
    node: row,
    update: (statement: StatementRow) => {
      setText(text, statement.text);
      fill.style.width = `${(statement.share * 100).toFixed(1)}%`;
      setText(percent, showShare(statement.share));
      setText(queries, showCount(statement.queries));
      setText(mean, showDuration(statement.durations.mean));
      setText(p95, showDuration(statement.durations.p95));
    },
  };
}

function slowView() {
  const { row, cells } = textRow(['sql', 'number', 'route wide', 'number wide']);
  const [head, took, route, when] = cells as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  const text = make('span');
  head.append(text);
  let isPlanned = false;
  return {
    node: row,
    update: (query: SlowQueryFigures) => {
      setText(text, query.text);
      setText(took, showDuration(query.seconds));
      setText(route, query.route ?? '–');
      setText(when, showAgo((Date.now() - query.at) / 1000));
      if (isPlanned || query.plan === null) return;
      isPlanned = true;
      head.append(
        make('details', 'plan', make('summary', '', 'Plan'), make('pre', '', query.plan.join('\n'))),
      );
    },
  };
}

function repeatedView() {
  const title = make('strong');
  const text = make('p', 'sql');
  const place = make('p', 'hint');
  return {
    node: make('li', '', title, text, place),
    update: ({ method, route, queries, text: statement, place: code }: NPlusOneFigures) => {
      setText(title, `${method} ${route}: ${showCount(queries)} times`);
      setText(text, statement);
      setText(place, code ?? '');
    },
  };
}
