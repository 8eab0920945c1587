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
    about: 'A page of 100 products, filtered and counted: two queries.',
    config: `cache: {
  ttl: '5m',
  tags: ['products'],
  vary: { query: LIST_PARAMETERS,
          cookies: NO_COOKIES },
  shared: true,
}`,
    why: 'The list is the same for everyone, so one response serves all for five minutes. Only parameters that the handler reads make another entry.',
    path: () => '/api/products?page=1&pageSize=100&sort=-price',
  },
  {
    id: 'stats',
    title: 'Figures by category',
    about: 'One aggregate over every order item: the slow one.',
    config: `cache: {
  ttl: '10m',
  tags: ['products'],
  vary: { query: [],
          cookies: NO_COOKIES },
  shared: true,
}`,
    why: 'One response for all, whatever the query. A changed price purges the tag, so ten minutes are never outdated.',
    path: () => '/api/categories/stats',
  },
  {
    id: 'fields',
    title: 'Three fields only',
    about: 'The same list, with the projection done in SQL.',
    config: `cache: {
  ttl: '5m',
  tags: ['products'],
  vary: { query: LIST_PARAMETERS,
          cookies: NO_COOKIES },
  shared: true,
}`,
    why: 'The rule of the list again. The fields are one of its parameters, so this response has an entry of its own.',
    path: () => '/api/products?pageSize=100&fields=id,name,priceCents',
  },
  {
    id: 'product',
    title: 'One product',
    about: 'By primary key, already fast: the query is what is saved.',
    config: `cache: {
  ttl: '10m',
  tags: ({ params }) =>
    [\`product:\${params.id}\`],
  vary: { query: [],
          cookies: NO_COOKIES },
  shared: true,
}`,
    why: 'Its own tag lets a write purge this product and leave the others.',
    path: () => '/api/products/7',
  },
  {
    id: 'search',
    title: 'Search',
    about: 'Full-text search with ranking, on an index.',
    config: `cache: {
  ttl: '5m',
  tags: ['products'],
  vary: { query: ['q'],
          cookies: NO_COOKIES },
  shared: true,
}`,
    why: 'Only the parameter q matters, so links with tracking parameters share the entry.',
    path: () => '/api/search?q=oak%20lamp',
  },
  {
    id: 'orders',
    title: 'My orders',
    about: 'After authentication, and kept for each customer apart.',
    config: `perf.cache.route({
  ttl: '1m',
  partition: ({ req }) =>
    userOf(req)?.id,
  tags: ({ req }) => ['orders',
    \`customer:\${userOf(req)?.id}\`],
})`,
    why: 'The cache comes after the authentication. The partition gives each customer an entry, and nobody else can get it.',
    path: () => '/api/me/orders',
    headers: () => (customers.value === '' ? {} : { Authorization: `Bearer customer-${customers.value}` }),
    control: element('label', { className: 'as' }, 'as', customers),
  },
];

const ROWS = [
  ['time', 'Time'],
  ['size', 'Transferred'],
  ['queries', 'Queries'],
  ['cache', 'X-Cache'],
  ['status', 'Status'],
];

/** The columns of a card, by the names of the sides of a comparison. */
const SIDES = { without: 'Without', cold: 'Cold cache', warm: 'Warm cache' };

/** Makes a route's card. `run(times)` compares, shows the outcome and returns it. */
export function routeCard(route) {
  const cells = {};
  const row = ([key, label]) => {
    cells[key] = Object.fromEntries(
      Object.keys(SIDES).map((side) => [side, element('td', { data: { side } }, '–')]),
    );
    const name = element('th', { scope: 'row', textContent: label });
    return element('tr', { data: { row: key } }, name, ...Object.values(cells[key]));
  };
  const heads = Object.entries(SIDES).map(([side, textContent]) =>
    element('th', { scope: 'col', textContent, data: { side } }),
  );
  const table = element(
    'table',
    {},
    element('caption', { className: 'unseen', textContent: `${route.title}, without and with hotpath` }),
    element('thead', {}, element('tr', {}, element('td'), ...heads)),
    element('tbody', {}, ...ROWS.map(row)),
  );
  const verdict = element('p', { className: 'verdict', role: 'status' }, 'Not compared yet.');
  const once = element('button', { type: 'button', className: 'primary', textContent: 'Compare' });
  const often = element('button', { type: 'button', textContent: 'Run 20×' });
  const headers = { without: element('pre'), warm: element('pre') };
  const details = element(
    'details',
    {},
    element('summary', { textContent: 'Response headers' }),
    element('h4', { textContent: SIDES.without }),
    headers.without,
    element('h4', { textContent: SIDES.warm }),
    headers.warm,
  );
  const card = element(
    'article',
    { className: 'card', id: `route-${route.id}` },
    element('h3', { textContent: route.title }),
    element(
      'p',
      { className: 'path' },
      element('span', { textContent: 'GET' }),
      ` ${route.path()}`,
      ...(route.control ? [route.control] : []),
    ),
    element('p', { className: 'about', textContent: route.about }),
    table,
    verdict,
    element('p', { className: 'actions' }, once, often),
    element('pre', { className: 'config' }, element('code', { textContent: route.config })),
    element('p', { className: 'why', textContent: route.why }),
    details,
  );

  const run = async (times) => {
    try {
      const outcome = await compare(route, times);
      const slowest = Math.max(...Object.keys(SIDES).map((side) => outcome[side].milliseconds));
      for (const side of Object.keys(SIDES)) showSide(cells, side, outcome[side], slowest);
      for (const [side, pre] of Object.entries(headers))
        pre.textContent = [...outcome[side].headers].map(([k, v]) => `${k}: ${v}`).join('\n');
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

function verdictOf({ without, warm, times }) {
  const parts = [];
  const factor = without.milliseconds / warm.milliseconds;
  if (factor >= 1.15) parts.push(`${factor.toFixed(factor < 10 ? 1 : 0)}× faster`);
  const saved = Math.round((1 - warm.bytes / without.bytes) * 100);
  if (saved >= 1) parts.push(`${saved} % fewer bytes`);
  const queries = without.queries - warm.queries;
  if (queries > 0) parts.push(queries === 1 ? '1 query saved' : `${queries} queries saved`);
  const text = parts.length > 0 ? `Warm cache: ${parts.join(', ')}.` : 'No difference.';
  return times > 1 ? `${text} Medians of ${times}.` : text;
}
