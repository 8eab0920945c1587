import type { HistoryColumns, Shown } from '../answers.js';
import { byId, setText } from '../dom.js';
import { Chart } from './chart.js';
import { CHART_KINDS } from './chart-list.js';

/** The least time that is shown. */
const LEAST_SECONDS = 120;

/** Charts over one time axis with a shared cursor. */
export class ChartPanel {
  readonly #charts = CHART_KINDS.map((kind) => new Chart(kind));
  readonly #seen = new Set<Element>();
  #history: HistoryColumns | undefined;
  #drawnAt = 0;
  #minutes = 60;

  constructor() {
    byId('charts').append(...this.#charts.map(({ node }) => node));
    const watch = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries)
          this.#seen[isIntersecting ? 'add' : 'delete'](target);
        this.#draw();
      },
      { rootMargin: '200px' },
    );
    const sizes = new ResizeObserver(() => {
      for (const chart of this.#charts) chart.resize();
    });
    for (const { node } of this.#charts) watch.observe(node);
    sizes.observe(byId('charts'));
    for (const input of document.querySelectorAll<HTMLInputElement>('input[name="window"]')) {
      input.addEventListener('change', () => {
        this.#minutes = Number(input.value);
        this.redraw();
      });
    }
  }

  show({ history, historyOf, api, selected }: Shown): void {
    const isOther = selected !== undefined && api?.instance?.id !== historyOf?.id;
    if (!historyOf) return;
    const name = `${historyOf.host} · ${historyOf.pid}`;
    setText(
      byId('charts-hint'),
      isOther ? `Each instance keeps its own history: this is ${name}` : `Of ${name}`,
    );
    if (!history || (history.at.at(-1) ?? 0) === this.#drawnAt) return;
    this.#history = history;
    this.#give();
  }

  /** After a change of the colours or of the time shown. */
  redraw(): void {
    for (const chart of this.#charts) chart.restart();
    this.#give();
  }

  #give(): void {
    if (!this.#history) return;
    const last = this.#history.at.at(-1) ?? Date.now() / 1000;
    this.#drawnAt = last;
    // A short history fills its chart.
    const first = this.#history.at[0] ?? last;
    const from = Math.max(last - this.#minutes * 60, Math.min(first, last - LEAST_SECONDS));
    for (const chart of this.#charts) chart.show(this.#history, [from, last]);
    this.#draw();
  }

  #draw(): void {
    for (const chart of this.#charts) if (this.#seen.has(chart.node)) chart.draw();
  }
}
