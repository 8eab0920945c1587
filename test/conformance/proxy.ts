import { type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';

/** Fields of one connection that Node writes itself (RFC 9110 §7.6.1). The proxy forwards all others. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'host']);

/**
 * A handler that forwards each request to one origin and streams the response back: status, head, body, trailers and
 * interim responses (1xx). The lines of the head keep their case and their duplicates.
 *
 * It also forwards connection fields of the response (`Connection` with field names, `Proxy-Connection`, …), although a
 * proxy should not. The suite measures whether the cache leaves them out of the store. An unreachable origin, or one
 * that closes before it has responded, makes a 502.
 */
export function proxyTo(origin: string) {
  const { hostname, port } = new URL(origin);
  return function proxy(req: IncomingMessage & { originalUrl?: string }, res: ServerResponse): void {
    // `req.headers`, as any handler reads it, because the cache hides fields from the handler there.
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(req.headers)) {
      if (value !== undefined && !OF_THE_CONNECTION.has(name)) headers[name] = value;
    }
    const { method, originalUrl = req.url } = req;
    // A connection per request: an origin that closes its connection must not affect other requests.
    const upstream = request({ hostname, port, method, path: originalUrl, headers, agent: false });
    passInterim(upstream, res);
    let answered = false;
    upstream.on('response', (answer) => {
      answered = true;
      passOn(answer, res);
    });
    upstream.on('error', () => {
      // The end of the response decides whether it is complete. Bytes beyond its length do not matter.
      if (answered || res.destroyed) return;
      res.statusCode = 502;
      res.end('the origin did not answer\n');
    });
    res.on('close', () => upstream.destroy());
    req.pipe(upstream);
  };
}

function passOn(answer: IncomingMessage, res: ServerResponse): void {
  res.statusCode = answer.statusCode as number;
  if (answer.statusMessage) res.statusMessage = answer.statusMessage;
  const chunked = answer.headers['transfer-encoding'] !== undefined;
  for (const [name, values] of fieldsOf(answer.rawHeaders)) {
    const lower = name.toLowerCase();
    if (lower === 'transfer-encoding' || (lower === 'trailer' && !chunked)) continue;
    const passed = lower === 'connection' ? values.map(withoutOwn).filter(Boolean) : values;
    if (passed.length > 0) res.setHeader(name, passed.length === 1 ? (passed[0] as string) : passed);
  }
  answer.on('error', () => {}); // `close` follows
  answer.pipe(res, { end: false });
  answer.on('end', () => {
    const trailers = [...fieldsOf(answer.rawTrailers)];
    if (trailers.length > 0)
      res.addTrailers(
        trailers.flatMap(([name, values]) => values.map((value): [string, string] => [name, value])),
      );
    res.end();
  });
  answer.on('close', () => {
    if (!answer.complete) res.destroy();
  });
}

function passInterim(upstream: ClientRequest, res: ServerResponse): void {
  upstream.on('information', ({ statusCode, headers }) => {
    if (statusCode === 102) res.writeProcessing();
    if (statusCode !== 103) return;
    const hints = Object.entries(headers).filter((field): field is [string, string | string[]] => !!field[1]);
    if (headers.link) res.writeEarlyHints(Object.fromEntries(hints));
  });
}

/** Lines of a head by name: the case of the first line, and all values. */
function fieldsOf(raw: readonly string[]): Iterable<[name: string, values: string[]]> {
  const fields = new Map<string, [name: string, values: string[]]>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name, value] = [raw[i] as string, raw[i + 1] as string];
    const field = fields.get(name.toLowerCase());
    if (field) field[1].push(value);
    else fields.set(name.toLowerCase(), [name, [value]]);
  }
  return fields.values();
}

/** A value of `Connection` without directives for the connection to the origin. */
function withoutOwn(value: string): string {
  return value
    .split(',')
    .map((option) => option.trim())
    .filter((option) => option !== '' && !/^(close|keep-alive)$/i.test(option))
    .join(', ');
}
