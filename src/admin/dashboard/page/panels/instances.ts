import type { InstanceFigures } from '../../../../telemetry/instances/instances.js';
import type { Shown } from '../answers.js';
import { byId, make, setShown, setText, TextTable } from '../dom.js';
import { showBytes, showCores, showDuration, showRate, showShare } from '../format.js';

/** The instances, and the one whose figures are shown. */
export class InstancePanel {
  /** Another one is wanted. */
  onSelected: (id: string | undefined) => void = () => undefined;
  readonly #table = new TextTable(byId('instances'), [
    '',
    'wide',
    'number wide',
    'number',
    'number',
    'number wide',
    'number',
    'number wide',
  ]);
  readonly #select = byId<HTMLSelectElement>('instance');
  #options = '';

  constructor() {
    this.#select.addEventListener('change', () => this.onSelected(this.#select.value || undefined));
  }

  /** @param id `all`, or the id of an instance; `undefined`: the one that answers. */
  select(shown: Shown, id: string | undefined): void {
    if (id === undefined) delete shown.selected;
    else shown.selected = id;
    this.#select.value = id ?? '';
  }

  show({ instances: report, selected }: Shown): void {
    if (!report) return;
    const { instances, isComplete, reason } = report;
    this.#table.show(instances.map(rowOf));
    const count = instances.length === 1 ? 'One instance' : `${instances.length} instances`;
    setText(
      byId('instances-hint'),
      isComplete ? count : `This one alone: ${reason ?? 'the others cannot be read'}`,
    );
    setShown(byId('instance-pick'), instances.length > 1 || selected !== undefined);
    this.#fill(instances, selected);
  }

  /** Rebuilt for other instances alone, so that an open list stays open. */
  #fill(instances: readonly InstanceFigures[], selected: string | undefined): void {
    const others = instances.map(({ id, host, pid, isSelf }) => [
      id,
      `${host} · ${pid}${isSelf ? ' (answers)' : ''}`,
    ]);
    const options = [['', 'This one'], ['all', `All ${instances.length}`], ...others] as const;
    const written = JSON.stringify(options.map(([id]) => id).sort());
    if (written === this.#options) return;
    this.#options = written;
    this.#select.replaceChildren(
      ...options.map(([id, text]) => {
        const option = make('option', '', text!);
        option.value = id!;
        return option;
      }),
    );
    this.#select.value = selected ?? '';
  }
}

function rowOf(each: InstanceFigures): string[] {
  return [
    each.id,
    `${each.host} · ${each.pid}`,
    each.version ?? '–',
    showDuration(each.uptimeSeconds),
    showRate(each.requestRate),
    showShare(each.requests.serverErrorRatio),
    showCores(each.cpuCores),
    showBytes(each.rssBytes),
    showDuration(each.eventLoopDelayP99),
  ];
}
