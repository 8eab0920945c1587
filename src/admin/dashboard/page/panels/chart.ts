import uPlot from 'uplot';
import type { HistoryColumns } from '../answers.js';
import { make, setText } from '../dom.js';
import { showClock } from '../format.js';
import type { ChartKind } from './chart-list.js';

const HEIGHT = 148;
const CURSOR_KEY = 'hotpath';

/** Distances of ticks in bytes. */
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** One chart with its caption, which is the text for those who cannot see it. */
export class Chart {
  readonly node: HTMLElement;
  readonly #kind: ChartKind;
  readonly #place: HTMLElement;
  readonly #summary: HTMLElement;
  readonly #values: readonly HTMLElement[];
  readonly #swatches: readonly HTMLElement[];
  #plot: uPlot | undefined;
  #data: uPlot.AlignedData = [[]];
  #range: [number, number] = [0, 1];
  #isStale = true;

  constructor(kind: ChartKind) {
    this.#kind = kind;
    this.#place = make('div', 'chart-place');
    this.#place.setAttribute('aria-hidden', 'true');
    this.#summary = make('p', 'unseen');
    this.#swatches = kind.lines.map(({ colour }) => make('i', `swatch ${colour}`));
    this.#values = kind.lines.map(() => make('b'));
    const legend = kind.lines.map(({ label }, index) =>
      make('span', 'legend-item', this.#swatches[index]!, `${label} `, this.#values[index]!),
    );
    const caption = make(
      'figcaption',
      '',
      make('h3', '', kind.title),
      make('p', 'legend', ...legend),
      this.#summary,
    );
    this.node = make('figure', 'chart', caption, this.#place);
  }

  /** @param range seconds since 1970. */
  show({ at, figures }: HistoryColumns, range: [number, number]): void {
    this.#range = range;
    const lines = this.#kind.lines.map(({ figure }) => figures[figure] ?? []);
    this.#data = [at as number[], ...(lines as (number | null)[][])];
    this.#isStale = true;
    this.#writeValues(null);
    this.#writeSummary(at, lines);
  }

  /** Draws what was shown last, if that has changed. Only charts that can be seen are drawn. */
  draw(): void {
    if (!this.#isStale || this.#place.clientWidth === 0) return;
    this.#isStale = false;
    this.#plot ??= this.#create();
    this.#plot.setData(this.#data, false);
    this.#plot.setScale('x', { min: this.#range[0], max: this.#range[1] });
  }

  /** After a change of the colours. */
  restart(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#isStale = true;
  }

  resize(): void {
    this.#plot?.setSize({ width: this.#place.clientWidth, height: HEIGHT });
  }

  #create(): uPlot {
    const { lines, show, least, most, isBinary } = this.#kind;
    const style = getComputedStyle(this.#place);
    const [text, line] = [style.color, style.borderTopColor];
    const axis = {
      stroke: text,
      font: `11px ${style.fontFamily}`,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
    };
    const colours = this.#swatches.map((swatch) => getComputedStyle(swatch).color);
    return new uPlot(
      {
        width: this.#place.clientWidth,
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: CURSOR_KEY }, drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
          x: { time: true },
          y: {
            range: (_plot, _min, max) => [0, Math.min(most ?? Infinity, Math.max(least, (max ?? 0) * 1.08))],
          },
        },
        axes: [
          {
            ...axis,
            space: 64,
            size: 24,
            values: (_plot, ticks, _axis, _space, step) => ticks.map((tick) => showClock(tick, step)),
            grid: { show: false },
          },
          {
            ...axis,
            space: 32,
            size: 64,
            values: (_plot, ticks) => ticks.map((tick) => show(tick)),
            ...(isBinary && { incrs: BINARY_STEPS }),
          },
        ],
        series: [
          {},
          ...lines.map(({ label }, index) => ({
            label,
            stroke: colours[index]!,
            width: 1.5,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(plot) => this.#writeValues(plot.cursor.idx ?? null)] },
      },
      this.#data,
      this.#place,
    );
  }

  /** @param index of the point under the cursor; `null`: the last. */
  #writeValues(index: number | null): void {
    for (const [at, value] of this.#values.entries()) {
      const line = this.#data[at + 1] ?? [];
      setText(value, this.#kind.show(index === null ? line.at(-1) : line[index]));
    }
  }

  #writeSummary(at: readonly number[], lines: readonly (readonly (number | null)[])[]): void {
    const from = at.findIndex((time) => time >= this.#range[0]);
    const words = this.#kind.lines.map(({ label }, index) => {
      const values = (from < 0 ? [] : lines[index]!.slice(from)).filter((value) => value !== null);
      if (values.length === 0) return `${label}: no data`;
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return `${label}: from ${this.#kind.show(low)} to ${this.#kind.show(high)}`;
    });
    const minutes = Math.round((this.#range[1] - this.#range[0]) / 60);
    setText(this.#summary, `In the last ${minutes} minutes, ${words.join('; ')}.`);
  }
}
