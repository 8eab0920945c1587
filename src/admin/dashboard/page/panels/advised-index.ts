import type { HelpedQuery, MissingIndex } from '../../../../postgres/adviser/report.js';
import { type ItemView, KeyedList, make, setShown, setText, TextTable } from '../dom.js';
import { NOTHING, showAgo, showBytes, showCount } from '../format.js';

/** An advised index, and whether a person may choose it. */
export interface ShownAdvice {
  readonly index: MissingIndex;
  readonly mayBuild: boolean;
  readonly isChosen: boolean;
  readonly isBuilt: boolean;
}

/** The DDL of an advised index with its proof. @param choose called when a person chooses it, or no longer does. */
export function advisedView(choose: (id: string, isChosen: boolean) => void): ItemView<ShownAdvice> {
  const box = make('input');
  box.type = 'checkbox';
  const ddl = make('code', 'ddl');
  const label = make('label', 'choice', box, ddl);
  const facts = make('p', 'hint');
  const body = make('tbody');
  const caveats = make('ul', 'caveats');
  const queries = new TextTable(body, ['sql', 'number wide', 'number', 'number', 'number', 'number wide']);
  const warnings = new KeyedList<string>(
    caveats,
    (text) => text,
    (text) => ({ node: make('li', '', text), update: () => {} }),
  );
  let id = '';
  box.addEventListener('change', () => choose(id, box.checked));
  return {
    node: make('li', 'box', label, facts, helpedTable(body), caveats),
    update: ({ index, mayBuild, isChosen, isBuilt }) => {
      id = index.id;
      setShown(box, mayBuild);
      box.checked = isChosen;
      setText(ddl, index.ddl);
      setText(facts, (isBuilt ? 'built · ' : '') + factsOf(index));
      queries.show(index.queries.map(queryRow));
      warnings.show(index.caveats);
    },
  };
}

function helpedTable(body: HTMLElement): HTMLElement {
  const heads = [
    ['Query that it helps', ''],
    ['Calls', 'number wide'],
    ['Cost now', 'number'],
    ['With it', 'number'],
    ['Gain', 'number'],
    ['Pages', 'number wide'],
  ] as const;
  const row = make('tr');
  for (const [text, className] of heads) {
    const head = make('th', className, text);
    head.scope = 'col';
    row.append(head);
  }
  const caption = make('caption', 'unseen', 'Queries that the index helps, with their cost before and after');
  return make('table', 'table statements', caption, make('thead', '', row), body);
}

function queryRow({ text, calls, costBefore, costAfter, ...buffers }: HelpedQuery): string[] {
  return [
    text,
    text,
    showCount(calls),
    showCost(costBefore),
    showCost(costAfter),
    showGain(costBefore, costAfter),
    showPages(buffers),
  ];
}

/** Pages of one call, and those in a trial with the index. */
function showPages({
  buffersBefore,
  buffersAfter,
}: Pick<HelpedQuery, 'buffersBefore' | 'buffersAfter'>): string {
  if (buffersBefore === null) return NOTHING;
  const after = buffersAfter === null ? '' : ` → ${showCount(buffersAfter)}`;
  return showCount(buffersBefore) + after;
}

function factsOf(index: MissingIndex): string {
  const { level, bytes, schema, table, tableRows, tableBytes, writesPerHour, statisticsAge } = index;
  const name = schema === 'public' ? table : `${schema}.${table}`;
  return [
    level,
    `about ${showBytes(bytes)}`,
    `${name}: ${showCount(tableRows)} rows, ${showBytes(tableBytes)}`,
    ...(writesPerHour > 0 ? [`slows ${showCount(writesPerHour)} writes an hour`] : []),
    `statistics: ${statisticsAge === null ? 'none' : showAgo(statisticsAge)}`,
  ].join(' · ');
}

/** A cost in the units of the planner. */
export function showCost(cost: number): string {
  return showCount(cost < 10 ? Number(cost.toFixed(1)) : Math.round(cost));
}

/** The factor by which a cost falls. */
export function showGain(before: number, after: number): string {
  if (!(after > 0)) return NOTHING;
  const factor = before / after;
  return `${showCount(factor < 10 ? Number(factor.toFixed(1)) : Math.round(factor))}×`;
}
