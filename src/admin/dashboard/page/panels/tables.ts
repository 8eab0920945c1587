import type { TableFigures } from '../../../../postgres/statistics/figures.js';
import type { Shown } from '../answers.js';
import { byId, setShown, setText, TextTable } from '../dom.js';
import { NOTHING, showAgo, showBytes, showCount } from '../format.js';

const MOST_ROWS = 10;

/** The largest tables. */
export class TablePanel {
  readonly #table = new TextTable(byId('tables'), [
    'route',
    'number',
    'number wide',
    'number wide',
    'number',
    'number wide',
    'number wide',
  ]);

  show({ database }: Shown): void {
    const tables = database?.statistics?.tables;
    if (!tables) return;
    setShown(byId('tables-part'), tables.value !== null && tables.value.length > 0);
    this.#table.show((tables.value ?? []).slice(0, MOST_ROWS).map(rowOf));
    setText(byId('tables-hint'), tables.reason === null ? '' : `Incomplete: ${tables.reason}`);
  }
}

function rowOf(each: TableFigures): string[] {
  const name = each.schema === 'public' ? each.table : `${each.schema}.${each.table}`;
  const analyzedAt = Math.max(each.lastAnalyzeAt ?? 0, each.lastAutoanalyzeAt ?? 0);
  return [
    name,
    name,
    showBytes(each.totalBytes),
    showCount(each.liveTuples),
    showCount(each.deadTuples),
    showCount(each.seqScans),
    each.indexScans === null ? 'no index' : showCount(each.indexScans),
    analyzedAt === 0 ? NOTHING : showAgo((Date.now() - analyzedAt) / 1000),
  ];
}
