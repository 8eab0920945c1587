import { addLine, byId, element, whileBusy } from './dom.js';
import { call, formatTime, median } from './measure.js';

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

/** Searches an index for the statements that ran, builds the one for the route, and measures before and after. */
async function findIndex() {
  const found = byId('no-index-found');
  const tell = (...lines) => found.replaceChildren(...lines);
  try {
    const before = await timeInDatabase(WITHOUT_INDEX);
    const { missing } = await withSeconds(
      'PostgreSQL plans the query with each index that could help',
      tell,
      () => readJson('/api/demo/indexes'),
    );
    const advice = missing.find(({ ddl }) => ddl.includes('unit_price_cents'));
    const query = advice?.queries.find(({ text }) => text.includes('unit_price_cents >= ?'));
    if (!query) return tell(sentence(await explainNothing()));
    const lines = describeAdvice(advice, query);
    const tellBelow = (line) => tell(...lines, line);
    tellBelow(sentence('The build begins …'));
    await build(advice.id);
    const ended = await withSeconds('PostgreSQL builds the index', tellBelow, () => endOf(advice.id));
    if (ended.state !== 'built') throw new Error(`the build has failed: ${ended.reason}`);
    const after = await timeInDatabase(WITHOUT_INDEX);
    tellBelow(
      sentence(
        element('strong', { textContent: `Built. ${formatTime(before)} before, ${formatTime(after)} now.` }),
        ' This is the time in the database, as the server measured it: the median of five requests.',
      ),
    );
  } catch (error) {
    found.append(sentence(`No index was built: ${error.message}`));
  }
}

function describeAdvice({ ddl }, { costBefore, costAfter }) {
  const factor = Math.round(costBefore / costAfter);
  return [
    sentence(
      element('strong', { textContent: `This index makes the query ${factor}× cheaper.` }),
      ` Planned cost ${Math.round(costBefore)} without it, ${Math.round(costAfter)} with it.`,
    ),
    element('pre', { className: 'output', textContent: ddl }),
  ];
}

/** Why there is no advice: the index may have been built before. */
async function explainNothing() {
  const { builds } = await readJson('/api/demo/builds');
  const built = builds.find(({ state, index }) => state === 'built' && index?.includes('unit_price_cents'));
  return built ? `The index is there already: ${built.index}.` : 'No further index helps this query.';
}

async function build(id) {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch('/api/demo/indexes', {
    method: 'POST',
    headers,
    body: JSON.stringify({ id }),
  });
  const { detail } = await response.json();
  if (!response.ok) throw new Error(detail ?? `status ${response.status}`);
}

/** @returns the state of a build that has ended. */
async function endOf(id) {
  for (;;) {
    const { builds } = await readJson('/api/demo/builds');
    const found = builds.find((one) => one.id === id);
    if (found?.state === 'built' || found?.state === 'failed') return found;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Shows the seconds that a task takes while it runs. */
async function withSeconds(text, tell, task) {
  const began = performance.now();
  const show = () => tell(sentence(`${text} … ${Math.round((performance.now() - began) / 1000)} s`));
  show();
  const timer = setInterval(show, 1000);
  try {
    return await task();
  } finally {
    clearInterval(timer);
  }
}

/** The median of five requests, in milliseconds. */
async function timeInDatabase(path) {
  const times = [];
  for (let turn = 0; turn < 5; turn++) {
    const { headers, milliseconds } = await call(path);
    times.push(databaseTimeOf(headers) ?? milliseconds);
  }
  return median(times);
}

async function readJson(path) {
  const response = await fetch(path, { cache: 'no-store' });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
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
  const inDatabase = databaseTimeOf(headers);
  const database = inDatabase === undefined ? '' : `, ${formatTime(inDatabase)} of it in the database`;
  const noun = queries === 1 ? 'query' : 'queries';
  return `${queries} ${noun} in ${formatTime(milliseconds)}${database}`;
}

/** The time in the database, as the server measured it. Milliseconds. */
function databaseTimeOf(headers) {
  const [, duration] = /\bdb;[^,]*dur=([\d.]+)/.exec(headers.get('server-timing') ?? '') ?? [];
  return duration === undefined ? undefined : Number(duration);
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
