import { startDatabase } from './database.js';
import { addLine, byId, cacheChip, element, whileBusy } from './dom.js';
import { startForecasts } from './forecast.js';
import { startLive } from './live.js';
import { call, emptyCache, formatTime } from './measure.js';
import { ROUTES, routeCard } from './routes.js';

const cards = ROUTES.map(routeCard);
byId('cards').append(...cards.map(({ card }) => card));

startLive();
startForecasts();
startDatabase();

byId('compare-all').addEventListener('click', (event) =>
  whileBusy(event.currentTarget, async () => {
    const summary = byId('summary');
    const sides = { without: 0, cold: 0, warm: 0 };
    const bytes = { without: 0, warm: 0 };
    let queries = 0;
    for (const [index, { run }] of cards.entries()) {
      summary.textContent = `${index + 1} of ${cards.length}: ${ROUTES[index].title.toLowerCase()} …`;
      const outcome = await run(5);
      if (!outcome) continue;
      for (const side of Object.keys(sides)) sides[side] += outcome[side].milliseconds;
      for (const side of Object.keys(bytes)) bytes[side] += outcome[side].bytes;
      queries += outcome.without.queries - outcome.warm.queries;
    }
    const factor = sides.without / sides.warm;
    const results = [
      [`${factor.toFixed(factor < 10 ? 1 : 0)}×`, 'faster'],
      [`${Math.round((1 - bytes.warm / bytes.without) * 100)} %`, 'fewer bytes'],
      [String(queries), 'queries saved'],
    ];
    summary.replaceChildren(
      element(
        'ul',
        { className: 'results' },
        ...results.map(([figure, name]) =>
          element('li', {}, element('strong', { textContent: figure }), ` ${name}`),
        ),
      ),
      element('p', {
        textContent:
          `All routes together: ${formatTime(sides.without)} without, ${formatTime(sides.cold)} with a cold cache, ` +
          `${formatTime(sides.warm)} with a warm cache.`,
      }),
    );
  }),
);

byId('write-form').addEventListener('submit', (event) => {
  event.preventDefault();
  whileBusy(event.submitter ?? event.target.querySelector('button'), () => changePrice(writeByApi));
});
byId('write-sql').addEventListener('click', (event) =>
  whileBusy(event.currentTarget, () => changePrice(writeBySql)),
);

const json = { 'Content-Type': 'application/json' };

/** The response comes when reads show the new price. */
async function writeByApi({ path, priceCents, step, read }) {
  const result = await call(path, { method: 'PATCH', headers: json, body: JSON.stringify({ priceCents }) });
  if (result.status !== 200) throw new Error(JSON.parse(result.text()).detail);
  step('PATCH', '', priceCents, result);
  const isFresh = (await read()) === priceCents;
  await read();
  return isFresh ? 'The first read after the write was fresh.' : 'The read after the write was outdated.';
}

/** As another program would write: nothing tells the cache. */
async function writeBySql({ path, priceCents, step, read }) {
  const body = JSON.stringify({ id: Number(byId('write-id').value), priceCents });
  const result = await call('/api/demo/price', { method: 'POST', headers: json, body });
  if (result.status !== 204) throw new Error(JSON.parse(result.text()).detail);
  const began = performance.now();
  step('UPDATE', '', priceCents, result);
  while (JSON.parse((await call(path)).text()).priceCents !== priceCents) {
    if (performance.now() - began > 10_000) throw new Error('the cache has not followed the table');
  }
  const after = formatTime(performance.now() - began);
  await read();
  return `The cache followed the table within ${after}.`;
}

async function changePrice(write) {
  const path = `/api/products/${encodeURIComponent(byId('write-id').value)}`;
  const steps = byId('write-steps');
  steps.replaceChildren();
  const step = (method, chip, price, result) => {
    const request = element('span', { className: 'request' }, `${method} `, chip);
    addLine(
      steps,
      10,
      request,
      element('span', { className: 'price', textContent: euros(price) }),
      element('span', { className: 'cost', textContent: cost(result) }),
    );
  };
  const read = async () => {
    const result = await call(path);
    const product = JSON.parse(result.text());
    if (result.status !== 200) throw new Error(product.detail);
    step('GET', cacheChip(result.xCache), product.priceCents, result);
    return product.priceCents;
  };
  try {
    await emptyCache(path);
    await read();
    await read();
    const priceCents = 500 + Math.floor(Math.random() * 40_000);
    const verdict = await write({ path, priceCents, step, read });
    addLine(steps, 10, element('strong', { textContent: verdict }));
  } catch (error) {
    addLine(steps, 10, `Failed: ${error.message}`);
  }
}

function cost({ milliseconds, serverMilliseconds, queries }) {
  const parts = [formatTime(milliseconds)];
  if (serverMilliseconds !== undefined) parts.push(`server ${formatTime(serverMilliseconds)}`);
  if (!Number.isNaN(queries)) parts.push(queries === 1 ? '1 query' : `${queries} queries`);
  return parts.join(', ');
}

function euros(cents) {
  return `${(cents / 100).toFixed(2)} €`;
}

let source;
byId('events-toggle').addEventListener('click', (event) => {
  const button = event.currentTarget;
  const list = byId('events-list');
  const listening = source === undefined;
  if (listening) {
    source = new EventSource('/api/events');
    source.addEventListener('hello', () => addLine(list, 6, 'Connected.'));
    source.addEventListener('pulse', ({ data }) =>
      addLine(list, 6, `Pulse at ${JSON.parse(data).at.slice(11, 19)}`),
    );
    source.addEventListener('product', ({ data }) => {
      const { name, priceCents } = JSON.parse(data);
      addLine(list, 6, `${name} now costs ${euros(priceCents)}`);
    });
    source.addEventListener('error', () => addLine(list, 6, 'Interrupted; the browser tries again.'));
  } else {
    source.close();
    source = undefined;
    addLine(list, 6, 'Stopped.');
  }
  button.textContent = listening ? 'Stop listening' : 'Start listening';
  button.setAttribute('aria-pressed', String(listening));
});

byId('echo-form').addEventListener('submit', (event) => {
  event.preventDefault();
  whileBusy(event.submitter ?? event.target.querySelector('button'), () =>
    post(byId('echo-output'), byId('echo-body').value),
  );
});

byId('upload').addEventListener('click', (event) =>
  whileBusy(event.currentTarget, () =>
    post(byId('upload-output'), JSON.stringify({ filler: 'x'.repeat(11 * 1024 * 1024) })),
  ),
);

async function post(output, body) {
  output.textContent = 'Sending …';
  try {
    const result = await call('/api/echo', {
      method: 'POST',
      headers: json,
      body,
    });
    output.textContent = `Status ${result.status} in ${formatTime(result.milliseconds)}\n${result.text()}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}
