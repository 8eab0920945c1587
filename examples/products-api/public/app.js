import { addLine, byId, cacheChip, element, whileBusy } from './dom.js';
import { call, formatTime } from './measure.js';
import { ROUTES, routeCard } from './routes.js';

const cards = ROUTES.map(routeCard);
byId('cards').append(...cards.map(({ card }) => card));

byId('compare-all').addEventListener('click', (event) =>
  whileBusy(event.currentTarget, async () => {
    const summary = byId('summary');
    const total = { without: 0, with: 0, bytesWithout: 0, bytesWith: 0 };
    for (const [index, { run }] of cards.entries()) {
      summary.textContent = `Comparing ${ROUTES[index].title.toLowerCase()} …`;
      // The first comparison may fill the cache; those after it show what every later visitor gets.
      await run(1);
      const outcome = await run(5);
      if (!outcome) continue;
      total.without += outcome.without.milliseconds;
      total.with += outcome.with.milliseconds;
      total.bytesWithout += outcome.without.bytes;
      total.bytesWith += outcome.with.bytes;
    }
    const fewer = Math.round((1 - total.bytesWith / total.bytesWithout) * 100);
    const factor = total.without / total.with;
    const speed = factor >= 1.15 ? `${factor.toFixed(1)}× faster, ` : '';
    summary.textContent =
      `All routes together: ${formatTime(total.without)} without, ${formatTime(total.with)} with hotpath: ` +
      `${speed}${fewer} % fewer bytes.`;
  }),
);

byId('write-form').addEventListener('submit', (event) => {
  event.preventDefault();
  whileBusy(event.submitter ?? event.target.querySelector('button'), changePrice);
});

async function changePrice() {
  const path = `/api/products/${encodeURIComponent(byId('write-id').value)}`;
  const steps = byId('write-steps');
  steps.replaceChildren();
  const read = async () => {
    const result = await call(path);
    const product = JSON.parse(result.text());
    if (result.status !== 200) throw new Error(product.detail);
    addLine(steps, 10, 'GET ', cacheChip(result.xCache), ` ${euros(product.priceCents)}, ${cost(result)}`);
    return product.priceCents;
  };
  try {
    await read();
    const before = await read();
    const priceCents = 500 + Math.floor(Math.random() * 40_000);
    const result = await call(path, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ priceCents }),
    });
    addLine(
      steps,
      10,
      `PATCH ${euros(before)} → ${euros(priceCents)}: status ${result.status}, ${cost(result)}`,
    );
    const after = await read();
    await read();
    const fresh = after === priceCents;
    const verdict = fresh
      ? 'The first read after the write was fresh.'
      : 'The read after the write was outdated.';
    addLine(steps, 10, element('strong', { textContent: verdict }));
  } catch (error) {
    addLine(steps, 10, `Failed: ${error.message}`);
  }
}

function cost(result) {
  const queries = result.queries === 1 ? '1 query' : `${result.queries} queries`;
  return `${formatTime(result.milliseconds)}${Number.isNaN(result.queries) ? '' : `, ${queries}`}`;
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
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    output.textContent = `Status ${result.status} in ${formatTime(result.milliseconds)}\n${result.text()}`;
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}
