import type { Shown } from '../answers.js';
import { byId, setShown, setText, TextTable } from '../dom.js';
import { showAgo, showDuration } from '../format.js';
import { routeName } from './time-shares.js';

/** The slowest requests of the last hour. */
export class SlowestPanel {
  readonly #table = new TextTable(byId('slow'), ['route', 'number', 'number', 'wide', 'number']);

  show({ slowest, selected }: Shown): void {
    if (!slowest) return;
    setText(
      byId('slow-hint'),
      selected === undefined ? 'Of the last hour' : 'Of the instance that answers, in the last hour',
    );
    const now = Date.now();
    this.#table.show(
      slowest
        .slice(0, 10)
        .map((request) => [
          `${request.at} ${request.secondsToHeaders} ${routeName(request)}`,
          routeName(request),
          showDuration(request.secondsToHeaders),
          String(request.status),
          request.cache ?? '–',
          showAgo((now - request.at) / 1000),
        ]),
    );
    setShown(byId('slow-empty'), slowest.length === 0);
  }
}
