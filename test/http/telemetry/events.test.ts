import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type CacheEvent, hotpath, type PurgeEvent, type RequestEvent, type SlowRequestEvent } from 'hotpath';
import { afterEach, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { listen, majors, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
const subscribed: [name: string, listener: (message: unknown) => void][] = [];
afterEach(() => {
  for (const [name, listener] of subscribed.splice(0)) unsubscribe(name, listener);
});

/** Messages of a channel until the end of the test. */
function hear<Message>(name: string, also?: (message: Message) => void): Message[] {
  const heard: Message[] = [];
  const listener = (message: unknown) => {
    heard.push(message as Message);
    also?.(message as Message);
  };
  subscribe(name, listener);
  subscribed.push([name, listener]);
  return heard;
}

describe.each(majors)('events on %s', (_name, express) => {
  async function serve(isAttached: boolean) {
    const context = new AsyncLocalStorage<string>();
    const perf = hotpath({
      routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } },
      timing: { slow: '0s', onSlow: () => {} },
      metrics: { defaultMetrics: false },
    });
    const app = express();
    app.use(perf);
    app.get('/items/:id', (_req, res) => void res.send('ok'));
    app.get('/own/:id', (_req, res) => void res.send('ok'));
    app.post('/items/:id', perf.cache.purgeAfter({ tag: 'items' }), (_req, res) => void res.send('ok'));
    if (isAttached) perf.attach(app);
    const server = await listen((req: IncomingMessage, res: ServerResponse) => {
      context.run(String(req.headers['x-request']), () => app(req as never, res as never));
    });
    later(server);
    later(perf);
    const ask = async (path: string, id: string, method = 'GET') => {
      const headers = { 'x-request': id, 'accept-encoding': 'identity' };
      return (await fetch(server.url + path, { method, headers })).text();
    };
    return { perf, ask, context };
  }

  it.each([
    ['inside Express', false],
    ['at the front door', true],
  ])(
    'publishes what the cache did, in the context of the request, before the head: %s',
    async (_, isAttached) => {
      const { ask, context } = await serve(isAttached);
      const seen: unknown[] = [];
      const heard = hear<CacheEvent>('hotpath:cache', ({ res, req }) => {
        seen.push([context.getStore(), res.headersSent, req.headers['x-request']]);
      });
      await ask('/items/7', 'first');
      await ask('/items/7', 'second');
      await ask('/own/7?x', 'third');
      expect(
        heard.map(({ result, route, detail, isFrontDoor }) => [result, route, detail, isFrontDoor]),
      ).toEqual([
        ['MISS', '/items/:id', undefined, false],
        ['HIT', '/items/:id', undefined, isAttached],
        ['PASS', '/own/:id', 'not-public', false],
      ]);
      expect(seen).toEqual([
        ['first', false, 'first'],
        ['second', false, 'second'],
        ['third', false, 'third'],
      ]);
    },
  );

  it('publishes the result to each request that waited for the fill of another, in its own context', async () => {
    const { perf, context } = await serve(false);
    const app = express();
    let answer = () => {};
    app.use(perf);
    app.get('/items/:id', (_req, res) => {
      answer = AsyncResource.bind(() => void res.send('ok'));
    });
    const server = await listen((req: IncomingMessage, res: ServerResponse) => {
      context.run(String(req.headers['x-request']), () => app(req as never, res as never));
    });
    later(server);
    const contexts: (string | undefined)[] = [];
    const heard = hear<CacheEvent>('hotpath:cache', () => contexts.push(context.getStore()));
    const asked = ['a', 'b', 'c'].map((id) =>
      fetch(`${server.url}/items/9`, { headers: { 'x-request': id } }).then((res) => res.text()),
    );
    await waitFor(() => perf.telemetry!.snapshot().requests.active === 3);
    answer();
    await Promise.all(asked);
    expect(heard.map(({ result }) => result).sort()).toEqual(['HIT', 'HIT', 'MISS']);
    expect(heard.map(({ req }) => req.headers['x-request'])).toEqual(contexts);
    expect([...contexts].sort()).toEqual(['a', 'b', 'c']);
  });

  it('publishes each request at its end, slow ones apart, and purges', async () => {
    const { ask, perf } = await serve(true);
    const ended = hear<RequestEvent>('hotpath:request');
    const slow = hear<SlowRequestEvent>('hotpath:slow-request');
    const purges = hear<PurgeEvent>('hotpath:purge');
    await ask('/items/7', 'a');
    await ask('/items/7', 'b');
    await ask('/items/7', 'c', 'POST');
    await perf.cache.expire({ url: '/items/7' });
    await waitFor(() => ended.length === 3 && slow.length === 3);
    expect(
      ended.map(({ method, route, status, cache, aborted }) => [method, route, status, cache, aborted]),
    ).toEqual([
      ['GET', '/items/:id', 200, 'MISS', false],
      ['GET', '/items/:id', 200, 'HIT', false],
      ['POST', '/items/:id', 200, 'BYPASS', false],
    ]);
    for (const { seconds, secondsToHeaders, responseBytes } of ended) {
      expect(secondsToHeaders).toBeGreaterThan(0);
      expect(seconds).toBeGreaterThanOrEqual(secondsToHeaders);
      expect(responseBytes).toBe(2);
    }
    expect(slow.map(({ path, status }) => [path, status])).toEqual(Array(3).fill(['/items/7', 200]));
    expect(purges).toContainEqual({ kind: 'purge', by: 'tag', cause: 'app' });
    expect(purges).toContainEqual({ kind: 'expire', by: 'url', cause: 'app' });
  });
});

describe('the source', () => {
  it('subscribes to no channel of its own', () => {
    const source = join(import.meta.dirname, '../../../src');
    const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    // RESPONSE_FINISHED is a channel of Node.
    const found = files.filter((file) =>
      /\bsubscribe\((?!RESPONSE_FINISHED\b)/.test(readFileSync(join(source, file), 'utf8')),
    );
    expect(found).toEqual([]);
  });
});
