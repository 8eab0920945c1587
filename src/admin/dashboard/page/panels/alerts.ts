import type { Shown, ShownAlert } from '../answers.js';
import { byId, KeyedList, make, setShown, setText } from '../dom.js';
import { showClock } from '../format.js';

/** Alerts that fire now. */
export class AlertPanel {
  readonly #list = new KeyedList<ShownAlert>(
    byId('alert-list'),
    ({ name, route, instance }) => `${name} ${route ?? ''} ${instance ?? ''}`,
    () => {
      const name = make('strong');
      const message = make('span');
      return {
        node: make('li', '', name, ' ', message),
        update: (alert) => {
          setText(name, alert.route === undefined ? alert.name : `${alert.name} · ${alert.route}`);
          const place = alert.instance === undefined ? '' : ` on ${alert.instance}`;
          setText(message, `${alert.message} (since ${showClock(alert.since / 1000)}${place})`);
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
