import { cacheChip, element, whileBusy } from './dom.js';
import { compare, formatBytes, formatTime } from './measure.js';

const customers = element(
  'select',
  { id: 'customer' },
  ...['1', '2', '3', '42', '1000'].map((id) =>
    element('option', { value: id, textContent: `customer ${id}` }),
  ),
  element('option', { value: '', textContent: 'nobody (401)' }),
);

/** The routes that are compared. */
export const ROUTES = [
  {
    id: 'list',
    title: 'Product list',
    about: 'A page of 100 products, filtered and counted.',
    path: () => '/api/products?page=1&pageSize=100&sort=-price',
  },
  {
    id: 'stats',
    title: 'Figures by category',
    about: 'One aggregate over every order item: the slow one.',
    path: () => '/api/categories/stats',
  },
  {
    id: 'fields',
    title: 'Three fields only',
    about: 'The same list, with the projection done in SQL.',
    path: () => '/api/products?pageSize=100&fields=id,name,priceCents',
  },
  {
    id: 'product',
    title: 'One product',
    about: 'By primary key, already fast: the query is what is saved.',
    path: () => '/api/products/7',
  },
  {
    id: 'search',
    title: 'Search',
    about: 'Full-text search with ranking, on an index.',
    path: () => '/api/search?q=oak%20lamp',
  },
  {
    id: 'orders',
    title: 'My orders',
    about: 'After authentication, and kept for each customer apart.',
    path: () => '/api/me/orders',
    headers: () => (customers.value === '' ? {} : { Authorization: `Bearer customer-${customers.value}` }),
    control: element('label', { className: 'fields' }, 'Signed in as', customers),
  },
];

const ROWS = [
  ['time', 'Time'],
  ['size', 'Transferred'],
  ['queries', 'SQL queries'],
  ['cache', 'X-Cache'],
  ['status', 'Status'],
];

/** Makes a route's card. `run(times)` compares, shows the outcome and returns it. */
export function routeCard(route) {
  const cells = {};
  const row = ([key, label]) => {
    cells[key] = { without: element('td', {}, '–'), with: element('td', {}, '–') };
    return element(
      'tr',
      { data: { row: key } },
      element('th', { scope: 'row', textContent: label }),
      cells[key].without,
      cells[key].with,
    );
  };
  const head = element(
    'tr',
    {},
    element('td'),
    element('th', { scope: 'col', textContent: 'Without' }),
    element('th', { scope: 'col', textContent: 'With hotpath' }),
  );
  const table = element(
    'table',
    {},
    element('caption', { className: 'unseen', textContent: `${route.title}, without and with hotpath` }),
    element('thead', {}, head),
    element('tbody', {}, ...ROWS.map(row)),
  );
  const verdict = element('p', { className: 'verdict', role: 'status' }, 'Not compared yet.');
  const once = element('button', { type: 'button', className: 'primary', textContent: 'Compare' });
  const often = element('button', { type: 'button', textContent: 'Run 20×' });
  const headers = { without: element('pre'), with: element('pre') };
  const details = element(
    'details',
    {},
    element('summary', { textContent: 'Response headers' }),
    element('h4', { textContent: 'Without' }),
    headers.without,
    element('h4', { textContent: 'With hotpath' }),
    headers.with,
  );
  const card = element(
    'article',
    { className: 'card', id: `route-${route.id}` },
    element('h3', { textContent: route.title }),
    element('p', { className: 'path' }, element('span', { textContent: 'GET' }), ` ${route.path()}`),
    element('p', { className: 'about', textContent: route.about }),
    ...(route.control ? [route.control] : []),
    table,
    verdict,
    element('p', { className: 'actions' }, once, often),
    details,
  );

  const run = async (times) => {
    try {
      const outcome = await compare(route, times);
      const slowest = Math.max(outcome.without.milliseconds, outcome.with.milliseconds);
      for (const side of ['without', 'with']) {
        showSide(cells, side, outcome[side], slowest);
        headers[side].textContent = [...outcome[side].headers].map(([k, v]) => `${k}: ${v}`).join('\n');
      }
      verdict.textContent = verdictOf(outcome);
      return outcome;
    } catch (error) {
      verdict.textContent = `The call failed: ${error.message}`;
      return undefined;
    }
  };
  once.addEventListener('click', () => whileBusy(once, () => run(1)));
  often.addEventListener('click', () => whileBusy(often, () => run(20)));
  return { card, run };
}

function showSide(cells, side, result, slowest) {
  const bar = element('span', { className: 'bar', ariaHidden: 'true' });
  // Through the object model: a style attribute would be stopped by the page's own policy.
  bar.style.setProperty('--share', String(result.milliseconds / slowest));
  cells.time[side].replaceChildren(formatTime(result.milliseconds), bar);
  cells.size[side].textContent = formatBytes(result.bytes);
  cells.queries[side].textContent = Number.isNaN(result.queries) ? '–' : String(result.queries);
  cells.cache[side].replaceChildren(cacheChip(result.xCache));
  cells.status[side].textContent = String(result.status);
}

function verdictOf({ without, with: withHotpath, times }) {
  const parts = [times > 1 ? `Median of ${times}` : undefined];
  const factor = without.milliseconds / withHotpath.milliseconds;
  if (factor >= 1.15) parts.push(`${factor.toFixed(factor < 10 ? 1 : 0)}× faster`);
  const saved = Math.round((1 - withHotpath.bytes / without.bytes) * 100);
  if (saved >= 1) parts.push(`${saved} % fewer bytes`);
  const queries = without.queries - withHotpath.queries;
  if (queries > 0) parts.push(queries === 1 ? '1 query saved' : `${queries} queries saved`);
  if (withHotpath.xCache === 'MISS') parts.push('filled: compare again for a hit');
  return parts.filter(Boolean).join(' · ') || 'No difference.';
}
