import type {
  Answer,
  ApiFigures,
  CacheFigures,
  CacheLimits,
  DatabaseAnswer,
  HistoryFigures,
  MachineFigures,
  Shown,
  ShownAlert,
  ShownJobs,
} from './answers.js';
import { HistoryBuffer } from './history-buffer.js';
import { type Polled, Poller, type PollState } from './poller.js';

/** The routes that the page wants. */
export interface WantedRoutes {
  readonly sort: string;
  readonly limit: number;
}

const FAST = 2000;
const STEADY = 6000;
const STABLE = 30_000;

/** Reads all that the page shows. @param show is called after each round. */
export function pollFor(shown: Shown, routes: WantedRoutes, show: (state: PollState) => void): Poller {
  return new Poller([...fastFigures(shown, routes), ...steadyFigures(shown), ...stableFigures(shown)], show);
}

/** Figures that change all the time. */
function fastFigures(shown: Shown, routes: WantedRoutes): Polled[] {
  const history = new HistoryBuffer();
  const instance = () => (shown.selected === undefined ? '' : `&instance=${shown.selected}`);
  return [
    {
      path: () => `/api?part=volatile&sort=${routes.sort}&limit=${routes.limit}${instance()}`,
      every: FAST,
      receive: (value) => {
        shown.api = answerWith<ApiFigures>(value, 'requests', 'routes');
      },
    },
    {
      path: () => `/cache?part=volatile&keys=1${instance()}`,
      every: FAST,
      receive: (value) => {
        shown.cache = answerWith<CacheFigures>(value, 'use');
      },
    },
    {
      path: () => `/history?part=volatile&only=process&since=${history.since}`,
      every: FAST,
      receive: (value) => {
        history.add(answerWith<HistoryFigures>(value, 'process'));
        shown.history = history.columns();
        if (history.instance) shown.historyOf = history.instance;
      },
    },
    {
      path: () => '/system?part=volatile',
      every: FAST,
      receive: (value) => {
        shown.machine = answerWith<MachineFigures>(value, 'others');
      },
    },
    {
      path: () => `/alerts?part=volatile${instance()}`,
      every: FAST,
      receive: (value) => {
        shown.alerts = answerWith<{ alerts: ShownAlert[] }>(value, 'alerts').volatile.alerts;
      },
    },
  ];
}

/** Figures that may be a few seconds old. */
function steadyFigures(shown: Shown): Polled[] {
  const part = <Volatile>(
    path: string,
    needed: readonly (keyof Volatile & string)[],
    receive: (volatile: Volatile) => void,
  ): Polled => ({
    path: () => `${path}?part=volatile`,
    every: STEADY,
    receive: (value) => receive(answerWith<Volatile>(value, ...needed).volatile),
  });
  return [
    part('/advice', ['advice'], ({ advice }: Required<Pick<Shown, 'advice'>>) => {
      shown.advice = advice;
    }),
    part('/instances', ['instances'], (instances: NonNullable<Shown['instances']>) => {
      shown.instances = instances;
    }),
    part('/warming', ['tasks'], ({ tasks }: { tasks: NonNullable<Shown['warming']> }) => {
      shown.warming = tasks;
    }),
    part('/database', [], (database: DatabaseAnswer) => {
      shown.database = database;
    }),
    {
      path: () => '/jobs',
      every: STEADY,
      receive: (value) => {
        const { stable, volatile } = value as Answer<Pick<ShownJobs, 'queue'>, Pick<ShownJobs, 'isOn'>>;
        shown.jobs = { isOn: stable?.isOn ?? false, queue: volatile.queue };
      },
    },
    part('/slow-requests', ['requests'], ({ requests }: { requests: NonNullable<Shown['slowest']> }) => {
      shown.slowest = requests;
    }),
  ];
}

/** Settings and versions. */
function stableFigures(shown: Shown): Polled[] {
  return [
    {
      path: () => '/cache?part=stable',
      every: STABLE,
      receive: (value) => {
        shown.cacheLimits = (value as { stable: CacheLimits }).stable;
      },
    },
    {
      path: () => '/system?part=stable',
      every: STABLE,
      receive: (value) => {
        shown.machineLabels = (value as { stable: NonNullable<Shown['machineLabels']> }).stable;
      },
    },
  ];
}

/** The response as it is shown. @throws TypeError if a needed figure is missing, or `null`. */
function answerWith<Volatile>(
  value: unknown,
  ...needed: readonly (keyof Volatile & string)[]
): Answer<Volatile> {
  const answer = value as Answer<Volatile>;
  const figures = answer.volatile as Readonly<Record<string, unknown>>;
  const missing = needed.find((name) => (figures[name] ?? null) === null);
  if (missing !== undefined) throw new TypeError(`the response has no ${missing}`);
  return answer;
}
