import { Writable } from 'node:stream';
import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { health } from '../../../src/admin/index.js';
import { type HotpathConfig, hotpath, type RequestLogOptions } from '../../../src/index.js';
import { escapeForLog, pathForLog, queryForLog } from '../../../src/middleware/request-log/line.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
const later = closeAfterEach();

type Line = Record<string, unknown>;

/** A real pino that keeps its lines. */
function keeping(level = 'debug') {
  const lines: Line[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      // Each call of pino is one line.
      lines.push(JSON.parse(String(chunk)) as Line);
      done();
    },
  });
  return { lines, logger: pino({ level }, stream) };
}

describe.each(majors)('the request log on %s', (_major, express) => {
  async function shop(log: RequestLogOptions | undefined, config: HotpathConfig = {}) {
    const perf = later(
      hotpath({
        routes: { '/hit/:id': { cache: { ttl: '1h', shared: true } }, '/quiet': { log: false } },
        ...(log && { log }),
        ...config,
      }),
    );
    const ids: unknown[] = [];
    const app = express();
    app.set('trust proxy', 1);
    app.use(perf);
    perf.attach(app);
    app.use(health());
    app.get('/hit/:id', (_req, res) => void res.send('hit'));
    app.get('/quiet', (_req, res) => void res.send('quiet'));
    app.get('/id', (req, res) => {
      ids.push((req as { id?: unknown }).id);
      res.send('id');
    });
    app.get('/throws', () => {
      throw new Error('a fault of the handler');
    });
    app.get('/never', (_req, res) => void res.write('x'));
    app.use(
      (
        _error: unknown,
        _req: unknown,
        res: { status(code: number): { send(text: string): void } },
        _next: unknown,
      ) => {
        res.status(500).send('error');
      },
    );
    const { url, port } = await serve(app);
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(url + path, { headers });
      return { status: response.status, headers: response.headers, text: await response.text() };
    };
    return { perf, get, port, ids };
  }

  it('writes one line for each request, front-door hits included, by a real pino', async () => {
    const { lines, logger } = keeping();
    const { get } = await shop({ logger });
    const first = await get('/hit/7?token=secret', {
      'x-request-id': 'abc-1',
      'x-forwarded-for': '203.0.113.9',
    });
    const second = await get('/hit/7?token=secret', { 'x-forwarded-for': '203.0.113.9' });
    await get('/nothing');
    await get('/throws');
    await get('/quiet');
    await get('/healthz');
    await waitFor(() => lines.length === 5);
    const common = { method: 'GET', aborted: false, msg: 'request completed' };
    const hit = {
      path: '/hit/7',
      route: '/hit/:id',
      status: 200,
      responseBytes: 3,
      clientAddress: '203.0.113.9',
    };
    expect(lines).toMatchObject([
      { ...common, ...hit, level: 30, requestId: 'abc-1', cache: 'MISS' },
      { ...common, ...hit, level: 30, requestId: second.headers.get('x-request-id'), cache: 'HIT' },
      { ...common, level: 40, path: '/nothing', status: 404 },
      { ...common, level: 50, path: '/throws', route: '/throws', status: 500 },
      { ...common, level: 20, path: '/healthz', status: 200 },
    ]);
    expect(first.headers.get('x-request-id')).toBe('abc-1');
    expect(lines.every(({ seconds }) => typeof seconds === 'number' && seconds >= 0 && seconds < 60)).toBe(
      true,
    );
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  it('gives handlers the id of the line, and takes that of the app', async () => {
    const { lines, logger } = keeping();
    const { get, ids } = await shop({ logger }, { timing: false });
    await get('/id', { 'x-request-id': 'given.1' });
    await get('/id', { 'x-request-id': 'bad id' });
    await waitFor(() => lines.length === 2);
    expect(ids).toEqual(lines.map(({ requestId }) => requestId));
    expect(ids[0]).toBe('given.1');
    expect(ids[1]).toMatch(/^[\da-f-]{36}$/);
  });

  it('shows queries only as the options say', async () => {
    const { lines, logger } = keeping();
    const all = await shop({ logger, query: true });
    await all.get('/id?a=1&token=x');
    const some = await shop({ logger, query: ['a'] });
    await some.get('/id?a=1&token=x&b');
    await waitFor(() => lines.length === 2);
    expect(lines.map(({ query }) => query)).toEqual(['?a=1&token=x', '?a=1&token=[redacted]&b']);
  });

  it('logs a client that leaves as 499, and chooses levels by the option', async () => {
    const { lines, logger } = keeping();
    const level = ({ path }: { path: string }) => (path === '/id' ? false : 'error');
    const { get, port } = await shop({ logger, level });
    await get('/id');
    await raw(port, 'GET /never HTTP/1.1\nHost: a\n\n', { timeout: 100 }).catch(() => {});
    await waitFor(() => lines.length === 1);
    expect(lines[0]).toMatchObject({
      level: 50,
      path: '/never',
      status: 499,
      aborted: true,
      msg: 'request aborted',
    });
  });

  it('escapes what clients send [K14]', async () => {
    const { lines, logger } = keeping();
    const { port } = await shop({ logger });
    const request = Buffer.from(
      'GET //u:pw@h/%0a%1b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\x9b\t2\r\nX-Request-Id: a\tb\r\nConnection: close\r\n\r\n',
      'latin1',
    );
    await raw(port, [request]);
    const long = `GET /${'a'.repeat(10_000)} HTTP/1.1\nHost: a\nX-Forwarded-For: ${'9'.repeat(3000)}\nConnection: close\n\n`;
    await raw(port, long);
    await waitFor(() => lines.length === 2);
    const text = JSON.stringify(lines[0]);
    expect(text).not.toContain('pw');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
    expect(JSON.parse(text).path).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above.
    expect(String(lines[0]!.clientAddress)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    expect(lines[0]!.requestId).toMatch(/^[\da-f-]{36}$/);
    expect(JSON.stringify(lines[1]).length).toBeLessThan(3000);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('full');
      },
    ],
    ['rejects', () => Promise.reject(new Error('full'))],
  ])('a logger that %s breaks nothing [K04]', async (_, write) => {
    const fail = vi.fn(write);
    const { get } = await shop({ logger: { info: fail, warn: fail, error: fail } });
    expect((await get('/hit/1')).text).toBe('hit');
    expect((await get('/hit/1')).text).toBe('hit');
    expect((await get('/throws')).status).toBe(500);
    await waitFor(() => fail.mock.calls.length === 3);
  });

  it('is off by default, and writes JSON on the console without a logger', async () => {
    const printed = vi.spyOn(console, 'log').mockImplementation(() => {});
    try {
      await (await shop(undefined)).get('/id');
      expect(printed).not.toHaveBeenCalled();
      await (await shop(undefined, { log: true })).get('/id');
      await waitFor(() => printed.mock.calls.length === 1);
      expect(JSON.parse(String(printed.mock.calls[0]![0]))).toMatchObject({ level: 'info', path: '/id' });
    } finally {
      printed.mockRestore();
    }
  });
});

describe('text of clients in the log', () => {
  it.each([
    [
      'a\nb\r\x1b[31m\x7f\x9b\u2028\u202e\u061c',
      'a\\u000ab\\u000d\\u001b[31m\\u007f\\u009b\\u2028\\u202e\\u061c',
    ],
    ['plain é', 'plain é'],
  ])('escapes %j', (text, shown) => expect(escapeForLog(text)).toBe(shown));

  it('masks credentials and values', () => {
    expect(pathForLog('//user:pw@host/a')).toBe('//***@host/a');
    expect(queryForLog('?', true)).toBeUndefined();
    expect(queryForLog('?a=1=2&b&=x', ['a'])).toBe('?a=1=2&b&=[redacted]');
  });

  it('refuses a logger without the methods of one', () => {
    expect(() => hotpath({ log: { logger: { info() {} } as never } })).toThrow('log.logger');
    expect(() => hotpath({ log: { query: 'all' as never } })).toThrow('log.query');
  });
});
