import type { Alert } from '../../../../telemetry/alerts/options.js';
import type { Shown } from '../answers.js';
import { byId, KeyedList, make, setShown, setText } from '../dom.js';
import { showClock } from '../format.js';

/** Alerts that fire now. */
export class AlertPanel {
  readonly #list = new KeyedList<Alert>(
    byId('alert-list'),
    ({ name, route }) => `${name} ${route ?? ''}`,
    () => {
      const name = make('strong');
      const message = make('span');
      return {
        node: make('li', '', name, ' ', message),
        update: (alert) => {
          setText(name, alert.route === undefined ? alert.name : `${alert.name} · ${alert.route}`);
          setText(message, `${alert.message} (since ${showClock(alert.since / 1000)})`);
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
