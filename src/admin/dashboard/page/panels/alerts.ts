import type { FiringAlert, Shown } from '../answers.js';
import { byId, KeyedList, make, setShown, setText } from '../dom.js';
import { showAgo } from '../format.js';

/** Alerts that fire now. */
export class AlertPanel {
  readonly #list = new KeyedList<FiringAlert>(
    byId('alert-list'),
    ({ name, route }) => `${name} ${route ?? ''}`,
    () => {
      const name = make('strong');
      const message = make('span');
      return {
        node: make('li', '', name, ' ', message),
        update: (alert) => {
          setText(name, alert.route === undefined ? alert.name : `${alert.name} · ${alert.route}`);
          setText(message, `${alert.message} (${sinceWords(alert.since)})`);
        },
      };
    },
  );

  show({ alerts = [] }: Shown): void {
    const firing = alerts.filter(({ state }) => state === 'firing');
    this.#list.show(firing);
    setText(
      byId('alerts-title'),
      firing.length === 1 ? '1 alert is firing' : `${firing.length} alerts are firing`,
    );
    setShown(byId('alerts'), firing.length > 0);
  }
}

function sinceWords(since: FiringAlert['since']): string {
  if (since === null) return 'now';
  const seconds = (Date.now() - new Date(since).getTime()) / 1000;
  return Number.isNaN(seconds) ? 'now' : `since ${showAgo(Math.max(seconds, 1)).replace(/ ago$/, '')}`;
}
