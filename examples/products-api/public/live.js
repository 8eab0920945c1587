import { byId } from './dom.js';
import { formatBytes } from './measure.js';

/** Between two readings. Milliseconds. */
const EVERY = 2_000;

/** Readings in the chart: two minutes. */
const COLUMNS = 60;
const HEIGHT = 40;
const SVG = 'http://www.w3.org/2000/svg';

/** The oldest first. */
const columns = [];
let before;

/** Shows the figures of `/metrics`, while the page can be seen. */
export function startLive() {
  draw();
  read();
  setInterval(read, EVERY);
  document.addEventListener('visibilitychange', read);
}

async function read() {
  if (document.hidden) return;
  try {
    const response = await fetch('/metrics', { cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(parse(await response.text()));
    byId('live').classList.remove('lost');
  } catch {
    // The figures stay, and their mark says that they are old.
    byId('live').classList.add('lost');
  }
}

/** Sums by the name of a metric, and those of the results of the cache apart. */
function parse(text) {
  const sums = new Map();
  const add = (name, value) => sums.set(name, (sums.get(name) ?? 0) + value);
  for (const [, name, labels, value] of text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
    add(name, Number(value));
    const [, result] = /\bresult="(\w+)"/.exec(labels ?? '') ?? [];
    if (result && name === 'hotpath_cache_requests_total') add(result, Number(value));
  }
  return (name) => sums.get(name) ?? 0;
}

function show(figure) {
  const hits = figure('hit') + figure('stale');
  const runs = figure('miss') + figure('revalidated');
  const cacheable = hits + runs;
  text('live-ratio', cacheable > 0 ? `${Math.floor((hits / cacheable) * 100)} %` : '–');
  text(
    'live-ratio-note',
    cacheable > 0 ? `${count(hits)} of ${count(cacheable)} requests` : 'no request yet',
  );
  text('live-saved', duration(figure('hotpath_cache_saved_seconds_total')));
  const saved = figure('hotpath_http_compression_saved_bytes_total');
  text('live-saved-note', `and ${formatBytes(saved)} of traffic`);
  text('live-cache', formatBytes(figure('hotpath_cache_memory_bytes')));
  const limit = formatBytes(figure('hotpath_cache_memory_max_bytes'));
  text('live-cache-note', `of ${limit}, ${count(figure('hotpath_cache_memory_entries'))} entries`);
  text('live-memory', formatBytes(figure('nodejs_heap_size_used_bytes')));
  text('live-memory-note', `${formatBytes(figure('process_resident_memory_bytes'))} resident in all`);
  // A restart of the server begins again at 0.
  if (before) columns.push({ hits: Math.max(0, hits - before.hits), runs: Math.max(0, runs - before.runs) });
  if (columns.length > COLUMNS) columns.shift();
  before = { hits, runs };
  draw();
}

function text(id, value) {
  byId(id).textContent = value;
}

function count(number) {
  return number.toLocaleString('en');
}

function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}

/** Bars of requests, hits above handlers. It draws at least a base line. */
function draw() {
  const chart = document.createElementNS(SVG, 'svg');
  chart.setAttribute('viewBox', `0 0 ${COLUMNS} ${HEIGHT}`);
  chart.setAttribute('preserveAspectRatio', 'none');
  chart.setAttribute('role', 'img');
  const total = columns.reduce((sum, { hits, runs }) => sum + hits + runs, 0);
  chart.setAttribute('aria-label', `${total} requests in the last 2 minutes that could be cached`);
  const most = Math.max(4, ...columns.map(({ hits, runs }) => hits + runs));
  const bar = (at, from, size, className) => {
    if (size === 0) return;
    const height = Math.max(0.75, (size / most) * (HEIGHT - 1));
    const rect = document.createElementNS(SVG, 'rect');
    const y = HEIGHT - 1 - (from / most) * (HEIGHT - 1) - height;
    const values = { x: COLUMNS - columns.length + at + 0.12, y, width: 0.76, height, class: className };
    for (const [name, value] of Object.entries(values)) rect.setAttribute(name, String(value));
    chart.append(rect);
  };
  columns.forEach(({ hits, runs }, at) => {
    bar(at, 0, runs, 'runs');
    bar(at, runs, hits, 'hits');
  });
  byId('live-chart').replaceChildren(chart);
  byId('live-empty').hidden = total > 0;
}
