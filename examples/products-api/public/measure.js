/** Calls the API once, and says how it went. */
export async function call(path, { off = false, headers = {}, ...init } = {}) {
  const url = new URL(path, location.href);
  if (off) url.searchParams.set('hotpath', 'off');
  performance.clearResourceTimings();
  const began = performance.now();
  // no-store: the browser's own cache would answer in hotpath's place.
  const response = await fetch(url, { ...init, headers, cache: 'no-store' });
  const body = await response.arrayBuffer();
  const milliseconds = performance.now() - began;
  const transferred = await encodedSize(url, response);
  return {
    status: response.status,
    headers: response.headers,
    text: () => new TextDecoder().decode(body),
    milliseconds,
    bytes: transferred ?? body.byteLength,
    queries: queriesOf(response.headers),
    serverMilliseconds: serverTimeOf(response.headers),
    xCache: response.headers.get('x-cache'),
  };
}

/**
 * Calls without hotpath, with a cold cache, and with a warm cache. At the same time they would slow each other down.
 * Whichever came first would pay for waking connection, server and database, so an uncounted call does that.
 */
export async function compare(route, times = 1) {
  const path = route.path();
  const callSide = (off) => call(path, { off, headers: route.headers?.() });
  await callSide(true);
  await emptyCache(path);
  const cold = await callSide(false);
  const without = [];
  const warm = [];
  for (let turn = 0; turn < times; turn++) {
    // Turns alternate, because the one that follows the other may find its data in the caches of the database.
    const order = turn % 2 === 0 ? [without, warm] : [warm, without];
    for (const side of order) side.push(await callSide(side === without));
  }
  return { without: middle(without), cold, warm: middle(warm), times };
}

/** Purges one URL. Only the demonstration has it; elsewhere the first request may be a hit. */
export async function emptyCache(path) {
  const headers = { 'Content-Type': 'application/json' };
  await fetch('/api/demo/cold', { method: 'POST', headers, body: JSON.stringify({ url: path }) });
}

/** The last call, with the median of all times. */
function middle(calls) {
  return { ...calls.at(-1), milliseconds: median(calls.map((one) => one.milliseconds)) };
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

export function formatTime(milliseconds) {
  if (milliseconds < 1) return `${milliseconds.toFixed(2)} ms`;
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
}

export function formatBytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

/** The SQL queries of a request, as the app counted them. A hit does not reach the app, so it needs none. */
function queriesOf(headers) {
  const count = headers.get('x-sql-queries');
  if (count !== null) return Number(count);
  return ['HIT', 'STALE'].includes(headers.get('x-cache')) ? 0 : Number.NaN;
}

/** The time until the headers, as the server measured it. */
function serverTimeOf(headers) {
  const [, duration] = /\btotal;dur=([\d.]+)/.exec(headers.get('server-timing') ?? '') ?? [];
  return duration === undefined ? undefined : Number(duration);
}

/** Bytes on the wire: as the browser counted them, else as the server declared them. */
async function encodedSize(url, response) {
  // The browser's entry is made a moment after the body has arrived.
  for (let turn = 0; turn < 10; turn++) {
    const entry = performance.getEntriesByName(url.href, 'resource').at(-1);
    if (entry?.encodedBodySize > 0) return entry.encodedBodySize;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const declared = response.headers.get('content-length');
  return declared === null ? undefined : Number(declared);
}
