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
    queries: Number(response.headers.get('x-sql-queries') ?? Number.NaN),
    xCache: response.headers.get('x-cache'),
  };
}

/** Calls without and with hotpath in turn. At the same time they would slow each other down. */
export async function compare(route, times = 1) {
  const without = [];
  const withHotpath = [];
  for (let turn = 0; turn < times; turn++) {
    without.push(await call(route.path(), { off: true, headers: route.headers?.() }));
    withHotpath.push(await call(route.path(), { headers: route.headers?.() }));
  }
  return { without: middle(without), with: middle(withHotpath), times };
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
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
}

export function formatBytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
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
