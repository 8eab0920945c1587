import { connect } from 'node:net';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Dispatcher } from '../../../src/cache/revalidate/internal-request.js';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { timing, timingOf } from '../../../src/middleware/timing/middleware.js';
import type { SlowRequest, TimingOptions } from '../../../src/middleware/timing/options.js';
import { stopClock } from '../../helpers/clock.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const serve = serveUntilAfterEach();
afterEach(() => vi.restoreAllMocks());

describe.each(majors)('timing on %s', (_, express) => {
  const appWith = (options?: TimingOptions) => {
    const app = express();
    app.use(timing(options));
    return app;
  };

  describe('request ids', () => {
    const idApp = (options?: TimingOptions) => {
      const app = appWith(options);
      app.use((_req, res) => void res.json({ id: timingOf(res).requestId }));
      return app;
    };

    it('keep a well-formed inbound id, and give it to the handler [I09]', async () => {
      const { url } = await serve(idApp());
      for (const id of ['a', '0123-abc_DEF.x:y', 'x'.repeat(128)]) {
        const answer = await fetch(url, { headers: { 'X-Request-Id': id } });
        expect(answer.headers.get('x-request-id')).toBe(id);
        expect(await answer.json()).toEqual({ id });
      }
    });

    it.each([
      ['none', ''],
      ['an empty id', 'X-Request-Id: \r\n'],
      ['a long id', `X-Request-Id: ${'x'.repeat(129)}\r\n`],
      ['a very long id', `X-Request-Id: ${'x'.repeat(15_000)}\r\n`],
      ['an id with a space', 'X-Request-Id: a b\r\n'],
      ['one with a tab', 'X-Request-Id: a\tb\r\n'],
      ['one with markup', 'X-Request-Id: <script>\r\n'],
      ['Latin-1', 'X-Request-Id: caf\xe9\r\n'],
      ['a control character of C1', 'X-Request-Id: a\x85b\r\n'],
      ['two', 'X-Request-Id: one\r\nX-Request-Id: two\r\n'],
    ])('are new for %s [I09]', async (_what, line) => {
      const { port } = await serve(idApp());
      const answer = await raw(port, [
        Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${line}Connection: close\r\n\r\n`, 'latin1'),
      ]);
      expect(answer.status).toBe(200);
      const id = answer.header('x-request-id');
      expect(id).toMatch(UUID);
      expect(JSON.parse(answer.text)).toEqual({ id });
    });

    it('ignore inbound ids when configured, and use the configured header [I09]', async () => {
      const { url } = await serve(idApp({ requestId: { header: 'X-Correlation-Id', trustInbound: false } }));
      const { headers } = await fetch(url, { headers: { 'X-Correlation-Id': 'abc' } });
      expect(headers.get('x-correlation-id')).toMatch(UUID);
      expect(headers.get('x-request-id')).toBe(null);
    });

    it('are not sent when they are off, and leave an id that the app set', async () => {
      const { url } = await serve(idApp({ requestId: false }));
      const off = await fetch(url, { headers: { 'X-Request-Id': 'abc' } });
      expect(off.headers.get('x-request-id')).toBe(null);
      expect(await off.json()).toEqual({});
      const app = appWith();
      app.use((_req, res) => void res.set('X-Request-Id', 'own').send('ok'));
      expect((await fetch((await serve(app)).url)).headers.get('x-request-id')).toBe('own');
    });
  });

  describe('headers', () => {
    it('send the time as a plain number with bodies, HEAD, 304, streams and errors [I10]', async () => {
      const app = appWith();
      app.get('/throws', () => {
        throw new Error('expected');
      });
      app.get('/streams', (_req, res) => {
        res.write('a');
        setImmediate(() => res.end('b'));
      });
      app.get('/flushes', (_req, res) => {
        res.flushHeaders();
        setImmediate(() => res.end('b'));
      });
      app.get('/', (_req, res) => void res.set('ETag', '"1"').send('ok'));
      app.use(((_error, _req, res, _next) => void res.status(500).send('caught')) as ErrorRequestHandler);
      const { port } = await serve(app);
      for (const request of [
        'GET / HTTP/1.1',
        'HEAD / HTTP/1.1',
        'GET / HTTP/1.1\nIf-None-Match: "1"',
        'GET /streams HTTP/1.1',
        'GET /flushes HTTP/1.1',
        'GET /throws HTTP/1.1',
        'GET /nowhere HTTP/1.1',
        'GET / HTTP/1.0',
      ]) {
        const answer = await raw(port, `${request}\nHost: a\nConnection: close\n\n`);
        expect(answer.header('x-response-time'), request).toMatch(/^\d+\.\d{3}ms$/);
        expect(answer.header('server-timing'), request).toMatch(/^total;dur=\d+\.\d{3}$/);
        expect(answer.header('x-request-id'), request).toMatch(UUID);
      }
    });

    it('are not affected by a wall clock that is set back [I10]', async () => {
      const app = appWith();
      let clock = 1e12;
      vi.spyOn(Date, 'now').mockImplementation(() => (clock -= 1e6));
      app.get('/', (_req, res) => void res.send('ok'));
      const { url } = await serve(app);
      const startedAt = performance.now();
      const { headers } = await fetch(url);
      const time = Number.parseFloat(headers.get('x-response-time') ?? '');
      expect(time).toBeGreaterThanOrEqual(0);
      expect(time).toBeLessThanOrEqual(performance.now() - startedAt);
    });

    it('are not visible to the app before the head is sent', async () => {
      const app = appWith();
      let seen: string[] = [];
      app.get('/', (_req, res) => {
        seen = res.getHeaderNames();
        res.send('ok');
      });
      const { url } = await serve(app);
      await fetch(url);
      expect(seen.filter((name) => name !== 'x-powered-by')).toEqual([]);
    });

    it('are left out or renamed as configured', async () => {
      const app = appWith({ header: false, serverTiming: false });
      const renamed = appWith({ header: 'X-Took' });
      for (const one of [app, renamed]) one.get('/', (_req, res) => void res.send('ok'));
      const off = (await fetch((await serve(app)).url)).headers;
      expect(off.get('x-response-time')).toBe(null);
      expect(off.get('server-timing')).toBe(null);
      const on = (await fetch((await serve(renamed)).url)).headers;
      expect(on.get('x-response-time')).toBe(null);
      expect(on.get('x-took')).toMatch(/ms$/);
    });

    it('keep the X-Response-Time of the app, and extend its Server-Timing', async () => {
      const app = appWith();
      app.get('/text', (_req, res) => {
        res.set({ 'X-Response-Time': 'own', 'Server-Timing': 'a;dur=1' }).send('ok');
      });
      app.get('/list', (_req, res) => void res.set('Server-Timing', ['a;dur=1', 'b']).send('ok'));
      const { url } = await serve(app);
      const text = (await fetch(`${url}/text`)).headers;
      expect(text.get('x-response-time')).toBe('own');
      expect(text.get('server-timing')).toMatch(/^a;dur=1, total;dur=[\d.]+$/);
      const list = (await fetch(`${url}/list`)).headers;
      expect(list.get('server-timing')).toMatch(/^a;dur=1, b, total;dur=[\d.]+$/);
    });

    it('include the cache outcome, even if the cache sets headers at the same moment', async () => {
      const app = appWith();
      app.get('/', (req, res) => {
        exchangeOf(req, res).onHead(() => res.setHeader('X-Cache', String(req.query.value)));
        res.send('ok');
      });
      const { url } = await serve(app);
      const ask = async (value: string) =>
        (await fetch(`${url}/?value=${encodeURIComponent(value)}`)).headers.get('server-timing');
      expect(await ask('HIT')).toMatch(/, cache;desc=HIT$/);
      expect(await ask('HIT from "x"')).toMatch(/, cache;desc="HIT from \\"x\\""$/);
    });

    it('count once when mounted twice', async () => {
      const app = appWith();
      app.use(timing());
      app.get('/', (_req, res) => void res.send('ok'));
      const { url } = await serve(app);
      expect((await fetch(url)).headers.get('server-timing')).toMatch(/^total;dur=[\d.]+$/);
    });

    it('count once when sending the headers fails and an error is sent instead', async () => {
      const app = appWith();
      app.use(((_req, res, next) => {
        const { writeHead } = res;
        let broken = false;
        res.writeHead = function (this: typeof res, ...args: Parameters<typeof writeHead>) {
          if (!broken) this.statusMessage = 'bad\nreason';
          broken = true;
          return writeHead.apply(this, args);
        } as typeof writeHead;
        next();
      }) as RequestHandler);
      app.get('/', (_req, res) => void res.set('Server-Timing', 'a').send('ok'));
      app.use(((_error, _req, res, _next) => {
        res.statusMessage = '';
        res.status(500).send('caught');
      }) as ErrorRequestHandler);
      const { url } = await serve(app);
      const answer = await fetch(url);
      expect(answer.status).toBe(500);
      expect(answer.headers.get('server-timing')).toMatch(/^a, total;dur=[\d.]+$/);
    });
  });

  describe('entries of the app', () => {
    const entriesOf = async (handler: RequestHandler) => {
      const app = appWith();
      app.get('/', handler);
      const { port } = await serve(app);
      const answer = await raw(port, 'GET / HTTP/1.1\nHost: a\nConnection: close\n\n');
      expect(answer.status).toBe(200);
      return answer.header('server-timing')?.replace(/total;dur=[\d.]+(, )?/, '');
    };

    it('are sent with their duration and description', async () => {
      const entries = await entriesOf((_req, res) => {
        timingOf(res).add('db', 1.23456);
        timingOf(res).add('queries', undefined, 'three of them');
        timingOf(res).add('both', 2, 'ok');
        res.send('ok');
      });
      expect(entries).toBe('db;dur=1.235, queries;desc="three of them", both;desc=ok;dur=2.000');
    });

    it('can neither break out of their header nor break the response [I11]', async () => {
      const entries = await entriesOf((_req, res) => {
        const timing = timingOf(res);
        for (const name of ['', 'a b', 'a;dur=9', 'a\r\nX: y', 'é', 'a,b', 'x'.repeat(65)]) timing.add(name);
        timing.add(undefined as unknown as string);
        timing.add('quote', 1, '"; dur=99, x\\');
        timing.add('lines', 1, 'a\r\nX-Evil: 1\u2028é\u{1f600}');
        timing.add('numbers', Number.NaN);
        timing.add('negative', -1);
        timing.add('endless', Number.POSITIVE_INFINITY);
        timing.add('text', '5' as unknown as number, 5 as unknown as string);
        res.send('ok');
      });
      expect(entries).toBe(
        'quote;desc="\\"; dur=99, x\\\\";dur=1.000, lines;desc="a??X-Evil: 1????";dur=1.000, numbers, negative, endless, text',
      );
    });

    it('are limited in number and in length [I11]', async () => {
      const entries = await entriesOf((_req, res) => {
        for (let i = 0; i < 1000; i++) timingOf(res).add(`e${i}`, i, `${'d'.repeat(5000)} `);
        res.send('ok');
      });
      expect(entries?.split(',').length).toBe(20);
      expect(entries?.length).toBeLessThan(4000);
    });

    it('are ignored after the head was sent', async () => {
      const entries = await entriesOf((_req, res) => {
        res.send('ok');
        timingOf(res).add('late', 1);
      });
      expect(entries).toBe('');
    });

    it('measure a function, and return its result', async () => {
      const entries = await entriesOf(async (_req, res) => {
        const timing = timingOf(res);
        expect(timing.measure('sync', () => 7)).toBe(7);
        expect(() =>
          timing.measure('throws', () => {
            throw new Error('expected');
          }),
        ).toThrow('expected');
        let runs = 0;
        const lazy = {
          // biome-ignore lint/suspicious/noThenProperty: a lazy query, as query builders make them.
          then(resolve: (value: number) => void) {
            runs++;
            setTimeout(resolve, 20, 8);
          },
        };
        expect(await timing.measure('async', () => lazy)).toBe(8);
        expect(runs).toBe(1);
        await expect(timing.measure('rejects', () => Promise.reject(new Error('expected')))).rejects.toThrow(
          'expected',
        );
        res.send('ok');
      });
      expect(entries).toMatch(
        /^sync;dur=[\d.]+, throws;dur=[\d.]+, async;dur=\d\d[\d.]+, rejects;dur=[\d.]+$/,
      );
    });

    it('do nothing where timing is off', async () => {
      const app = express();
      app.get('/', (_req, res) => {
        timingOf(res).add('db', 1);
        res.json([timingOf(res).measure('x', () => 7), timingOf(res).requestId ?? null]);
      });
      const { url } = await serve(app);
      const answer = await fetch(url);
      expect(await answer.json()).toEqual([7, null]);
      expect(answer.headers.get('server-timing')).toBe(null);
    });
  });

  describe('slow requests', () => {
    it('are reported with template and client address, never with the query', async () => {
      const slow: SlowRequest[] = [];
      const app = appWith({ slow: 0.000001, onSlow: (request) => void slow.push(request) });
      app.set('trust proxy', 1);
      app.get('/users/:id', (_req, res) => void res.status(201).send('ok'));
      const { url } = await serve(app);
      const startedAt = performance.now();
      await fetch(`${url}/users/7?token=secret`, {
        headers: { 'X-Forwarded-For': '203.0.113.9', 'X-Request-Id': 'abc' },
      });
      await waitFor(() => slow.length === 1);
      expect(slow[0]).toEqual({
        method: 'GET',
        route: '/users/:id',
        path: '/users/7',
        status: 201,
        seconds: expect.any(Number),
        requestId: 'abc',
        clientAddress: '203.0.113.9',
      });
      expect(slow[0]!.seconds).toBeGreaterThan(0);
      expect(slow[0]!.seconds).toBeLessThanOrEqual((performance.now() - startedAt) / 1000);
    });

    it('ignore X-Forwarded-For where no proxy is trusted', async () => {
      const slow: SlowRequest[] = [];
      const app = appWith({ slow: 0.000001, onSlow: (request) => void slow.push(request) });
      app.get('/', (_req, res) => void res.send('ok'));
      const { url } = await serve(app);
      await fetch(url, { headers: { 'X-Forwarded-For': '203.0.113.9' } });
      await waitFor(() => slow.length === 1);
      expect(slow[0]!.clientAddress).toBe('127.0.0.1');
    });

    it('last at least the threshold, to the end of the body', async () => {
      let passed = 0;
      const now = performance.now.bind(performance);
      vi.spyOn(performance, 'now').mockImplementation(() => now() + passed);
      const slow: SlowRequest[] = [];
      const app = appWith({ slow: '1m', onSlow: (request) => void slow.push(request) });
      app.get('/:milliseconds', (req, res) => {
        res.write('a');
        passed += Number(req.params.milliseconds);
        res.end('b');
      });
      const { url } = await serve(app);
      for (const path of ['/0', '/30000', '/60000', '/90000']) await (await fetch(url + path)).text();
      await waitFor(() => slow.length === 2);
      expect(slow.map(({ path }) => path)).toEqual(['/60000', '/90000']);
      expect(slow[0]!.seconds).toBeCloseTo(60, 0);
    });

    it('have status 499 and an address when the client has left', async () => {
      const slow: SlowRequest[] = [];
      const app = appWith({ slow: 0.000001, onSlow: (request) => void slow.push(request) });
      let arrived = false;
      app.get('/hangs', () => {
        arrived = true;
      });
      const { port } = await serve(app);
      const socket = connect(port, '127.0.0.1', () => socket.write('GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n'));
      await waitFor(() => arrived);
      socket.destroy();
      await waitFor(() => slow.length === 1);
      expect(slow[0]).toMatchObject({ status: 499, route: '/hangs', clientAddress: '127.0.0.1' });
    });

    it.each([
      [
        'throws',
        () => {
          throw new Error('expected');
        },
      ],
      ['rejects', () => Promise.reject(new Error('expected'))],
    ])('survive a reporting function that %s', async (_how, hook) => {
      vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const unhandled = vi.fn();
      process.on('unhandledRejection', unhandled);
      let calls = 0;
      // Not a mock, because mocks handle rejections themselves.
      const onSlow = () => {
        calls++;
        return hook() as unknown as undefined;
      };
      const app = appWith({ slow: 0.000001, onSlow });
      app.get('/', (_req, res) => void res.send('ok'));
      const { url } = await serve(app);
      for (let i = 1; i <= 2; i++) {
        expect(await (await fetch(url)).text()).toBe('ok');
        await waitFor(() => calls === i);
      }
      await nextTurn();
      process.off('unhandledRejection', unhandled);
      expect(unhandled).not.toHaveBeenCalled();
    });

    it('survive a trust proxy function that throws', async () => {
      vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const slow: SlowRequest[] = [];
      const app = appWith({ slow: 0.000001, onSlow: (request) => void slow.push(request) });
      app.set('trust proxy', () => {
        throw new Error('expected');
      });
      app.get('/', (_req, res) => void res.end('ok'));
      const { url } = await serve(app);
      expect(await (await fetch(url)).text()).toBe('ok');
      await waitFor(() => slow.length === 1);
      expect(slow[0]!.clientAddress).toBe('127.0.0.1');
    });

    it('are one plain line each without a function, at most one a second', async () => {
      const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
      const app = appWith({ slow: 0.02 });
      const clock = stopClock();
      app.get('/users/:id', (_req, res) => {
        clock.pass(40);
        res.send('ok');
      });
      const { url } = await serve(app);
      // From one second, and then from the next.
      for (let i = 0; i < 20; i++) await (await fetch(`${url}/users/7?token=secret`)).text();
      await waitFor(() => warn.mock.calls.length >= 1);
      expect(warn).toHaveBeenCalledTimes(1);
      clock.pass(1_000);
      await (await fetch(`${url}/users/7?token=secret`)).text();
      await waitFor(() => warn.mock.calls.length >= 2);
      expect(String(warn.mock.calls[1]![0])).toContain('(and 19 more before)');
      const line = String(warn.mock.calls[0]![0]);
      expect(line).toMatch(
        /^hotpath: slow request: GET \/users\/:id 200 in \d+\.\d{3} s, path \/users\/7, id \S+, from 127\.0\.0\.1/,
      );
      expect(line).not.toContain('secret');
    });

    it('leave out internal requests', async () => {
      const onSlow = vi.fn();
      const app = appWith({ slow: 0.000001, onSlow });
      app.get('/', (_req, res) => void res.send('ok'));
      const answer = await new Dispatcher().dispatch(app, { target: '/', headers: { host: 'a' } });
      expect(answer.status).toBe(200);
      const { url } = await serve(app);
      await fetch(url);
      await waitFor(() => onSlow.mock.calls.length > 0);
      expect(onSlow).toHaveBeenCalledTimes(1);
    });
  });
});

describe('timing', () => {
  it.each([
    { header: 'a b' },
    { slow: '5 min' },
    { onSlow: 'x' },
    { requestId: { header: '' } },
    { nope: 1 },
  ])('rejects %j at creation', (options) => {
    expect(() => timing(options as TimingOptions)).toThrow(/timing/);
  });

  it('offers the timing of a response as `of`', () => {
    expect(timing().of).toBe(timingOf);
  });
});
