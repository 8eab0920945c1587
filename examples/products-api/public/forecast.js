import { byId, whileBusy } from './dom.js';
import { formatTime } from './measure.js';

const WIDTH = 600;
const HEIGHT = 200;
const SVG = 'http://www.w3.org/2000/svg';

/** A job that waits longer may have no worker. Milliseconds. */
const PATIENCE = 5_000;

/** The forecast that runs. */
let current;

/** Connects the form, the progress bar and the chart. */
export function startForecasts() {
  byId('forecast-form').addEventListener('submit', (event) => {
    event.preventDefault();
    whileBusy(byId('forecast-run'), forecast);
  });
  byId('forecast-cancel').addEventListener('click', () => {
    if (current) fetch(current, { method: 'DELETE' }).catch(() => {});
  });
}

async function forecast() {
  const began = performance.now();
  show('Sending …', 0);
  byId('forecast-chart').replaceChildren();
  byId('forecast-top').textContent = '';
  byId('forecast-summary').textContent = '';
  byId('forecast-empty').hidden = false;
  try {
    const number = (id) => Number(byId(id).value);
    const response = await fetch('/api/forecasts', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        productId: number('forecast-product'),
        days: number('forecast-days'),
        runs: number('forecast-runs'),
        priority: byId('forecast-priority').value,
      }),
    });
    const body = await response.json();
    if (response.status === 200) {
      draw(body);
      show(`From the cache of functions in ${formatTime(performance.now() - began)}.`, 100);
      return;
    }
    if (response.status !== 202) throw new Error(body.detail);
    current = body.links.self;
    byId('forecast-cancel').disabled = false;
    const last = await follow(body);
    if (last.state === 'done') {
      draw(await (await fetch(last.links?.result ?? `${current}/result`)).json());
      const seconds = ((last.finishedAt - last.startedAt) / 1_000).toFixed(1);
      show(`Done. The job took ${seconds} s. Run it again: the result is a hit.`, 100);
    } else if (last.state === 'cancelled') show('Cancelled.', last.progress);
    else show(last.failure === 'timeout' ? 'Failed: it took too long.' : 'Failed.', last.progress);
  } catch (error) {
    show(`Failed: ${error.message}`, 0);
  } finally {
    current = undefined;
    byId('forecast-cancel').disabled = true;
  }
}

/** Shows the events of a forecast, and resolves with its last status. */
function follow({ links, state, createdAt }) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(links.events);
    show(`${capital(state)} …`, 0);
    const reminder = setTimeout(() => {
      show('Waiting for a worker. With Redis or PostgreSQL, “npm run start:worker” starts one.', 0);
    }, PATIENCE);
    source.addEventListener('status', ({ data }) => {
      const status = JSON.parse(data);
      if (status.state !== 'waiting') clearTimeout(reminder);
      if (['done', 'failed', 'cancelled'].includes(status.state)) {
        source.close();
        resolve(status);
      } else if (status.state === 'running') {
        const seconds = ((Date.now() - createdAt) / 1_000).toFixed(0);
        show(`Running: ${status.progress} % after ${seconds} s`, status.progress);
      }
    });
    source.addEventListener('error', () => {
      // While it connects again by itself, the figures stay.
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(reminder);
      reject(new Error('the events have ended'));
    });
  });
}

function show(text, progress) {
  byId('forecast-state').textContent = text;
  byId('forecast-bar').value = progress;
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

/** Draws two bands around the median, which widen with the days. */
function draw({ mean, percentiles, stock, stockOutProbability }) {
  const { p5, p25, p50, p75, p95 } = percentiles;
  const days = mean.length;
  const most = Math.max(1, ...p95);
  const x = (day) => (((day + 1) / days) * WIDTH).toFixed(1);
  const y = (units) => (HEIGHT - (units / most) * (HEIGHT - 8)).toFixed(1);
  const line = (values) => values.map((units, day) => `${x(day)},${y(units)}`);
  const band = (low, high) => [`0,${HEIGHT}`, ...line(high), ...line(low).reverse()].join(' ');
  const chart = document.createElementNS(SVG, 'svg');
  chart.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  chart.setAttribute('preserveAspectRatio', 'none');
  chart.setAttribute('role', 'img');
  const add = (name, points, className) => {
    const shape = document.createElementNS(SVG, name);
    shape.setAttribute('points', points);
    shape.setAttribute('class', className);
    chart.append(shape);
  };
  add('polygon', band(p5, p95), 'outer');
  add('polygon', band(p25, p75), 'inner');
  add('polyline', [`0,${HEIGHT}`, ...line(p50)].join(' '), 'median');
  const last = days - 1;
  const summary =
    `In ${days} days: ${p50[last]} units in the median, and ${p5[last]} to ${p95[last]} in nine of ten futures. ` +
    `The stock of ${stock} lasts in ${((1 - stockOutProbability) * 100).toFixed(1)} % of them.`;
  chart.setAttribute('aria-label', summary);
  byId('forecast-top').textContent = `${most} units`;
  byId('forecast-summary').textContent = summary;
  byId('forecast-empty').hidden = true;
  byId('forecast-chart').replaceChildren(chart);
}
