import type { HistoryColumns, Shown } from '../answers.js';
import { byId, KeyedList, make, setShown, setText } from '../dom.js';
import { showBytes, showCount, showDuration, showRate, showShare } from '../format.js';
import { drawSpark, meanOf } from './spark.js';
import { routeName, shareRoutes } from './time-shares.js';

/** Points of the last minute; the others of the hour are compared with them. */
const RECENT_POINTS = 12;

/** With fewer points before it, there is nothing to compare with. */
const ENOUGH_POINTS = 24;

/** Smaller changes are noise. */
const NOTABLE_CHANGE = 0.1;

/** Routes in the list. */
const SLOWEST = 4;

/** The first screen: speed, failures, savings, and where the time goes. */
export class OverviewPanel {
  readonly #slowest = new KeyedList(
    byId('slowest'),
    ({ key }: ReturnType<typeof shareRoutes>[number]) => key,
    () => {
      const name = make('span', 'bar-name');
      const figure = make('span', 'bar-figure');
      const fill = make('span', 'bar-fill');
      const track = make('span', 'bar-track', fill);
      track.setAttribute('aria-hidden', 'true');
      return {
        node: make('li', '', name, figure, track),
        update: ({ route, share, figures }) => {
          setText(name, routeName(route));
          setText(figure, `${showShare(share)} of the time · p95 ${showDuration(figures.total.p95)}`);
          fill.style.width = `${(share * 100).toFixed(1)}%`;
        },
      };
    },
  );
  #drawn: HistoryColumns | undefined;

  show(shown: Shown): void {
    this.#showRequests(shown);
    this.#showCache(shown);
    const { history } = shown;
    if (!history || history === this.#drawn) return;
    this.#drawn = history;
    this.#drawHistory(history, shown.api?.instance === null);
  }

  #showRequests({ api }: Shown): void {
    if (!api) return;
    const { requests, routes } = api.volatile;
    const figures = requests.recent ?? requests.sinceStart;
    const time = requests.recent ? 'in the last minute' : 'since the start';
    for (const window of document.querySelectorAll('[data-recent]')) setText(window, time);
    setText(byId('speed-p95'), showDuration(figures.total.p95));
    setText(byId('speed-p50'), showDuration(figures.total.p50));
    setText(byId('speed-rate'), `${showRate(figures.rate)} requests/s`);
    const failures = byId('failures-ratio');
    setText(failures, figures.requests > 0 ? showShare(figures.serverErrorRatio) : '–');
    failures.classList.toggle('is-bad', figures.serverErrorRatio >= 0.01);
    setText(
      byId('failures-count'),
      `${showCount(figures.serverErrors)} of ${showCount(figures.requests)} failed (5xx) · ${showShare(figures.clientErrorRatio)} 4xx`,
    );
    const slowest = shareRoutes(routes).slice(0, SLOWEST);
    this.#slowest.show(slowest);
    setText(
      byId('slowest-hint'),
      slowest.length > 0
        ? `Routes by the time that their requests took together, ${time}`
        : 'No request has ended yet: send some, and their routes appear here.',
    );
  }

  #showCache({ cache, api }: Shown): void {
    if (!cache) return;
    const { use } = cache.volatile;
    const served = use.hits + use.stale;
    setText(byId('saved-ratio'), showShare(use.hitRatio));
    setText(
      byId('saved-sums'),
      served > 0
        ? `${showCount(served)} requests · ${showBytes(use.servedBytes)} · ${showDuration(use.savedSeconds)}`
        : 'No response was served from the cache yet.',
    );
    setText(
      byId('saved-since'),
      api ? `Requests, bytes and handler time, in ${showDuration(api.volatile.uptimeSeconds)}` : '',
    );
  }

  #drawHistory({ figures }: HistoryColumns, isSum: boolean): void {
    const column = (name: string) => figures[name] ?? [];
    for (const [id, name] of [
      ['speed-spark', 'p95'],
      ['failures-spark', 'serverErrorRatio'],
      ['saved-spark', 'cacheHitRatio'],
    ] as const)
      drawSpark(byId<SVGSVGElement>(id), column(name));
    // Red is for failures: there are none in a line of zeros.
    byId('failures-spark').classList.toggle(
      'bad',
      column('serverErrorRatio').some((ratio) => ratio !== null && ratio > 0),
    );
    // The history is that of one instance.
    setShown(byId('speed-trend'), !isSum);
    setShown(byId('failures-trend'), !isSum);
    setText(byId('speed-trend'), compare(column('p95'), 'faster', 'slower'));
    setText(byId('failures-trend'), compare(column('serverErrorRatio'), 'less', 'more'));
  }
}

/** Compares the last minute with the time before it. */
function compare(values: readonly (number | null)[], less: string, more: string): string {
  const before = values.slice(0, -RECENT_POINTS);
  if (before.length < ENOUGH_POINTS) return 'No trend yet: it needs three minutes.';
  const [now, usual] = [meanOf(values.slice(-RECENT_POINTS)), meanOf(before)];
  if (now === null || usual === null || (now === 0 && usual === 0)) return 'As in the hour before';
  if (usual === 0) return `▲ ${more} than in the hour before, when there was none`;
  const change = now / usual - 1;
  if (Math.abs(change) < NOTABLE_CHANGE) return 'As in the hour before';
  const amount = change > 1 ? `${showRate(change + 1)} times` : showShare(Math.abs(change));
  return `${change > 0 ? '▲' : '▼'} ${amount} ${change > 0 ? more : less} than in the hour before`;
}
