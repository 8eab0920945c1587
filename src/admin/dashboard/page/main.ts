import type { Shown } from './answers.js';
import { AlertPanel } from './panels/alerts.js';
import { CachePanel } from './panels/cache.js';
import { ChangePanel } from './panels/changes.js';
import { ChartPanel } from './panels/charts.js';
import { DatabasePanel } from './panels/database.js';
import { ExplainForm } from './panels/explain.js';
import { IndexPanel } from './panels/indexes.js';
import { InstancePanel } from './panels/instances.js';
import { JobPanel } from './panels/jobs.js';
import { NextStepPanel } from './panels/next-steps.js';
import { OverviewPanel } from './panels/overview.js';
import { ProcessPanel } from './panels/process.js';
import { PurgeForm } from './panels/purge.js';
import { QueryPanel } from './panels/queries.js';
import { RoutePanel } from './panels/routes.js';
import { SlowestPanel } from './panels/slowest.js';
import { TablePanel } from './panels/tables.js';
import { WarmingPanel } from './panels/warming.js';
import { pollFor } from './polled.js';
import { StatusLine } from './status-line.js';
import { ThemeButton } from './theme.js';

const permitsChanges =
  document.querySelector<HTMLMetaElement>('meta[name="hotpath-changes"]')?.content === 'yes';
const shown: Shown = {};
const theme = new ThemeButton();
const statusLine = new StatusLine();
const charts = new ChartPanel();
const routes = new RoutePanel();
const instances = new InstancePanel();
const panels = [
  new OverviewPanel(),
  new NextStepPanel(permitsChanges),
  routes,
  charts,
  new CachePanel(),
  instances,
  new SlowestPanel(),
  new WarmingPanel(),
  new JobPanel(),
  new AlertPanel(),
  new DatabasePanel(),
  new ChangePanel(),
  new QueryPanel(),
  new TablePanel(),
  new IndexPanel(permitsChanges),
  new ProcessPanel(),
];
new PurgeForm(permitsChanges);
new ExplainForm();

const poller = pollFor(shown, routes, (state) => {
  statusLine.show(state);
  if (state.kind === 'trouble' && state.problem.status === 404) instances.select(shown, undefined);
  for (const panel of panels) {
    try {
      panel.show(shown);
    } catch (error) {
      // The others are still right.
      console.error(error);
    }
  }
});
routes.onWanted = () => poller.all();
instances.onSelected = (id) => {
  instances.select(shown, id);
  poller.all();
};
theme.onChange = () => charts.redraw();
poller.now();
