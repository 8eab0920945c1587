import { addLine, byId, element, whileBusy } from './dom.js';
import { call, formatTime } from './measure.js';

const N_PLUS_ONE = '/api/customers/last-orders';
const WITHOUT_INDEX = '/api/sales/highest';

/** The two routes with a mistake, and how hotpath has found them. */
export function startDatabase() {
  byId('n-plus-one-run').addEventListener('click', (event) =>
    whileBusy(event.currentTarget, () => show('n-plus-one', N_PLUS_ONE, describeRepetition)),
  );
  byId('no-index-run').addEventListener('click', (event) =>
    whileBusy(event.currentTarget, () => show('no-index', WITHOUT_INDEX, describeStatement)),
  );
  byId('no-index-find').addEventListener('click', (event) => whileBusy(event.currentTarget, findIndex));
}

/** Searches an index for the statements that ran, and shows the one for the route. */
async function findIndex() {
  const found = byId('no-index-found');
  found.replaceChildren(sentence('PostgreSQL plans the query with each index that could help …'));
  try {
    const response = await fetch('/api/demo/indexes', { cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { missing } = await response.json();
    const advice = missing.find(({ ddl }) => ddl.includes('unit_price_cents'));
    const query = advice?.queries.find(({ text }) => text.includes('unit_price_cents >= ?'));
    if (!query) throw new Error('no index helps; run the route first');
    const factor = Math.round(query.costBefore / query.costAfter);
    found.replaceChildren(
      sentence(
        element('strong', { textContent: `This index makes the query ${factor}× cheaper.` }),
        ` Planned cost ${Math.round(query.costBefore)} without it, ${Math.round(query.costAfter)} with it.`,
      ),
      element('pre', { className: 'output', textContent: advice.ddl }),
    );
  } catch (error) {
    found.replaceChildren(sentence(`Nothing found: ${error.message}`));
  }
}

/** Calls a route, and shows its cost and what the monitor says of it. */
async function show(card, path, describe) {
  const cost = byId(`${card}-cost`);
  const found = byId(`${card}-found`);
  try {
    const result = await call(path);
    if (result.status !== 200) throw new Error(`status ${result.status}`);
    addLine(cost, 3, costOf(result));
    const response = await fetch('/api/demo/database', { cache: 'no-store' });
    if (!response.ok) throw new Error('this server watches no pool');
    found.replaceChildren(...describe(await response.json()));
  } catch (error) {
    found.replaceChildren(element('p', { textContent: `Failed: ${error.message}` }));
  }
}

function costOf({ headers, queries, milliseconds }) {
  const [, inDatabase] = /\bdb;[^,]*dur=([\d.]+)/.exec(headers.get('server-timing') ?? '') ?? [];
  const database =
    inDatabase === undefined ? '' : `, ${formatTime(Number(inDatabase))} of it in the database`;
  const noun = queries === 1 ? 'query' : 'queries';
  return `${queries} ${noun} in ${formatTime(milliseconds)}${database}`;
}

/** @returns the lines about a statement that one request repeats. */
function describeRepetition({ nPlusOne }) {
  const found = nPlusOne.find(({ route }) => route === N_PLUS_ONE);
  if (!found) return [element('p', { textContent: 'Nothing yet: run it again.' })];
  const { queries, text, place, seconds } = found;
  return [
    sentence(
      element('strong', { textContent: `One request ran the same query ${queries} times.` }),
      ` Together they took ${formatTime(seconds * 1000)}. One query with a join would get all rows at once.`,
    ),
    element('pre', { className: 'output', textContent: text }),
    ...(place ? [sentence('Where: ', element('code', { textContent: place }))] : []),
  ];
}

/** @returns the lines about the statement that wants an index. */
function describeStatement({ statements }) {
  const total = statements.reduce((sum, { seconds }) => sum + seconds, 0);
  const found = statements.find(({ text }) => text.includes('unit_price_cents >= ?'));
  if (!found) return [element('p', { textContent: 'Nothing yet: run it again.' })];
  const { queries, seconds, text } = found;
  const share = Math.round((seconds / total) * 100);
  return [
    sentence(
      element('strong', { textContent: `${formatTime((seconds / queries) * 1000)} for each query.` }),
      ` It ran ${queries === 1 ? 'once' : `${queries} times`} and took ${share} % of all time in the database.`,
    ),
    element('pre', { className: 'output', textContent: text }),
  ];
}

function sentence(...parts) {
  return element('p', {}, ...parts);
}
