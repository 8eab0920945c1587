import type { AdviceItem } from '../../../../telemetry/advice.js';
import type { Shown } from '../answers.js';
import { byId, KeyedList, make, setShown, setText, textRow } from '../dom.js';
import { showDuration, showRate, showShare } from '../format.js';
import { configLine } from './config-line.js';
import { writeAdvice } from './next-steps.js';
import { type RouteShare, routeName, shareRoutes } from './time-shares.js';

/** Routes before the list is opened. */
const FEW = 10;
const ALL = 500;

/** A route with what to do about it. */
interface RouteRow extends RouteShare {
  readonly advice: readonly AdviceItem[];
}

/** The table of routes. */
export class RoutePanel {
  /** Other routes are wanted than before. */
  onWanted: () => void = () => undefined;
  readonly #list = new KeyedList<RouteRow>(
    byId('routes'),
    ({ key }) => key,
    () => routeView(),
  );
  readonly #sort = byId<HTMLSelectElement>('routes-sort');
  readonly #filter = byId<HTMLInputElement>('routes-filter');
  readonly #more = byId('routes-more');
  #isOpen = false;
  #shown: Shown = {};

  constructor() {
    this.#sort.addEventListener('change', () => this.onWanted());
    this.#filter.addEventListener('input', () => {
      // Only all of them can be searched.
      if (this.#filter.value !== '' && !this.#isOpen) this.#toggle();
      else this.show(this.#shown);
    });
    this.#more.addEventListener('click', () => this.#toggle());
  }

  get sort(): string {
    return this.#sort.value;
  }

  get limit(): number {
    return this.#isOpen ? ALL : 50;
  }

  show(shown: Shown): void {
    this.#shown = shown;
    const { api, advice = [] } = shown;
    if (!api) return;
    const { routes, routeCount } = api.volatile;
    const wanted = this.#filter.value.trim().toLowerCase();
    const shares = shareRoutes(routes);
    if (this.#sort.value === 'requests') shares.sort((a, b) => b.figures.requests - a.figures.requests);
    if (this.#sort.value === 'errors') shares.sort((a, b) => b.figures.serverErrors - a.figures.serverErrors);
    const found = shares.filter(({ key }) => key.toLowerCase().includes(wanted));
    const rows = this.#isOpen ? found : found.slice(0, FEW);
    this.#list.show(rows.map((row) => ({ ...row, advice: advice.filter(({ route }) => route === row.key) })));
    const isRecent = api.volatile.requests.recent !== null;
    const count = routeCount ?? routes.length;
    setText(
      byId('routes-hint'),
      isRecent
        ? 'Figures of the last minute; hit ratio and share of the database since the start'
        : 'Sums of instances since their start',
    );
    setShown(this.#more, shares.length > FEW || this.#isOpen);
    setText(this.#more, this.#isOpen ? 'Show fewer' : `Show all ${count} routes`);
    setShown(byId('routes-empty'), rows.length === 0);
    setText(
      byId('routes-empty'),
      wanted === ''
        ? 'No request in the last minute.'
        : `No route of the last minute has “${wanted}” in its name.`,
    );
  }

  #toggle(): void {
    this.#isOpen = !this.#isOpen;
    this.#more.setAttribute('aria-expanded', String(this.#isOpen));
    this.onWanted();
    this.show(this.#shown);
  }
}

function routeView() {
  const { row, cells } = textRow([
    'route',
    'bar-cell',
    'number wide',
    'number wide',
    'number',
    'number',
    'number wide',
    'number wide',
  ]);
  const [head, share, rate, p50, p95, errors, hits, database] = cells as [
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  const name = make('span', 'route-name');
  const fill = make('span', 'bar-fill');
  const percent = make('span', 'number');
  head.append(name);
  share.append(make('div', 'bar-line', make('span', 'bar-track', fill), percent));
  let advised = '';
  return {
    node: row,
    update: ({ route, share: part, figures, advice }: RouteRow) => {
      setText(name, routeName(route));
      setText(percent, showShare(part));
      fill.style.width = `${(part * 100).toFixed(1)}%`;
      setText(rate, showRate(figures.rate));
      setText(p50, showDuration(figures.total.p50));
      setText(p95, showDuration(figures.total.p95));
      setText(errors, showShare(figures.serverErrorRatio));
      errors.classList.toggle('is-bad', figures.serverErrorRatio >= 0.01);
      setText(hits, showShare(route.cacheHitRatio));
      setText(database, showShare(databaseShare(route)));
      const words = advice.map(({ text, config }) => `${text}\n${config}`).join('\n');
      if (words === advised) return;
      advised = words;
      head.querySelector('.route-advice')?.remove();
      if (advice.length > 0) head.append(routeAdvice(advice));
    },
  };
}

/** Of the time since the start; queries that run at once may take longer together than their request. */
function databaseShare({ database, sinceStart: { requests, total } }: RouteShare['route']): number | null {
  const seconds = requests * (total.mean ?? 0);
  return database && seconds > 0 ? Math.min(1, database.seconds / seconds) : null;
}

/** In a fold, so that rows keep one height. */
function routeAdvice(advice: readonly AdviceItem[]): HTMLElement {
  const summary = make('summary', '', advice.length === 1 ? '1 idea' : `${advice.length} ideas`);
  const items = advice.map(({ text, config }) => {
    const words = make('p');
    writeAdvice(words, text);
    return make('div', 'advice-item', words, ...(config === undefined ? [] : [configLine(config)]));
  });
  return make('details', 'route-advice', summary, ...items);
}
