import { type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';

/** Fields of one connection that Node writes itself (RFC 9110 §7.6.1); the rest is passed on as it came. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'host']);

/**
 * A handler that passes everything on to one origin and streams the answer back: status, the lines of the head
 * with their case and their duplicates, body, trailers and interim answers (1xx).
 *
 * What the answer says of its connection (`Connection` with names of fields, `Proxy-Connection`, …) is passed on
 * too, although a proxy should not: keeping it out of the store is what the cache is measured on. An origin that
 * can't be reached, or that goes before it has answered, makes a 502.
 */
export function proxyTo(origin: string) {
  const { hostname, port } = new URL(origin);
  return function proxy(req: IncomingMessage & { originalUrl?: string }, res: ServerResponse): void {
    // `req.headers`, as any handler reads them: from there the cache hides what the handler shall not see.
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(req.headers)) {
      if (value !== undefined && !OF_THE_CONNECTION.has(name)) headers[name] = value;
    }
    const { method, originalUrl = req.url } = req;
    // A connection for each: an origin that closes one in reply must not spoil another's request.
    const upstream = request({ hostname, port, method, path: originalUrl, headers, agent: false });
    passInterim(upstream, res);
    let answered = false;
    upstream.on('response', (answer) => {
      answered = true;
      passOn(answer, res);
    });
    upstream.on('error', () => {
      // Once there is an answer, its own end says whether it is whole: more bytes than it declared do not matter.
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

/** Lines of a head by name: the case of the first line, the values of all. */
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

/** A value of `Connection` without what speaks of the origin's own connection. */
function withoutOwn(value: string): string {
  return value
    .split(',')
    .map((option) => option.trim())
    .filter((option) => option !== '' && !/^(close|keep-alive)$/i.test(option))
    .join(', ');
}
