import { once } from 'node:events';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Express, Response } from 'express';
import { type HotpathConfig, hotpath } from 'hotpath';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SlowRequest } from '../../../src/middleware/timing/options.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { type Listening, listen, majors, waitFor } from '../../helpers/http.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let server: Listening | undefined;
beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});
afterEach(async () => {
  // Above all the warning about more than ten listeners on one connection.
  expect(process.emitWarning).not.toHaveBeenCalled();
  vi.restoreAllMocks();
  await server?.close();
});

const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

describe.each(majors)('pipelined requests on %s', (_name, express) => {
  describe.each(['shut', 'open'])('with the front door %s', (door) => {
    async function serve(routes: (app: Express) => void, rules: HotpathConfig['routes'] = {}) {
      const registry = new Registry();
      const slow: SlowRequest[] = [];
      const perf = hotpath({
        metrics: { defaultMetrics: false, registry },
        timing: { slow: 0.000001, onSlow: (request) => void slow.push(request) },
        cache: { waitTimeout: '1h' },
        routes: {
          ...rules,
          '/hit': { cache: { ttl: '1m', shared: true } },
        },
      });
      const app = express();
      if (door === 'open') perf.attach(app);
      app.use(perf);
      app.get('/hit', (_req, res) => void res.send('hit'));
      routes(app);
      server = await listen(app);
      const read = async (name: string) => {
        const { values } = await registry.getSingleMetric(name)!.get();
        return Object.fromEntries(
          values.map(({ labels, value }) => [Object.values(labels).join(' '), value]),
        );
      };
      return {
        port: server.port,
        slow,
        perf,
        inProgress: async () => (await read('http_requests_in_progress')).GET ?? 0,
        counts: () => read('http_requests_total'),
      };
    }

    it.each([1, 6, 40])('are each counted once when %i of them are cut off [I08]', async (amount) => {
      let arrived = 0;
      const { port, inProgress, counts, slow } = await serve((app) => {
        app.get('/hangs', async (_req, res) => {
          arrived++;
          await nextTurn();
          if (arrived < 0) res.send('never');
        });
      });
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(request('/hangs').repeat(amount));
      await waitFor(() => arrived === amount);
      expect(await inProgress()).toBe(amount);
      socket.resetAndDestroy();
      await waitFor(async () => (await inProgress()) === 0);
      expect(await counts()).toEqual({ 'GET /hangs 499': amount });
      expect(slow.map(({ status }) => status)).toEqual(Array(amount).fill(499));
    });

    it('are each counted once if some are answered, late or never, while hits wait [I08]', async () => {
      const answers: (() => void)[] = [];
      const { port, inProgress, counts } = await serve((app) => {
        app.get('/waits', (_req, res) => void answers.push(() => res.send('now')));
      });
      const socket = connect(port, '127.0.0.1');
      let text = '';
      socket.setEncoding('latin1').on('data', (chunk) => (text += chunk));
      await once(socket, 'connect');
      socket.write(request('/hit'));
      await waitFor(() => text.includes('hit'));
      socket.write(['/waits', '/hit', '/waits', '/waits', '/hit', '/hit'].map(request).join(''));
      await waitFor(async () => answers.length === 3 && (await inProgress()) === 6);
      answers[2]!(); // waits for the second response
      answers[0]!();
      await waitFor(async () => (await inProgress()) === 4);
      socket.resetAndDestroy();
      await waitFor(async () => (await inProgress()) === 0);
      const expected = { 'GET /hit 200': 2, 'GET /waits 200': 1, 'GET /waits 499': 2, 'GET /hit 499': 2 };
      expect(await counts()).toEqual(expected);
      answers[1]!(); // its client has left
      await nextTurn();
      expect(await counts()).toEqual(expected);
      expect(await inProgress()).toBe(0);
    });

    it.each(['stored', 'refused', 'destroyed'])(
      'are not held once they are cut off and then %s [I08 K10]',
      async (end) => {
        const answers: (() => void)[] = [];
        const responses: WeakRef<Response>[] = [];
        const { port, perf, inProgress } = await serve(
          (app) => {
            app.get('/cached', (_req, res) => {
              responses.push(new WeakRef(res));
              answers.push(() => {
                if (end === 'destroyed') res.destroy();
                else res.set('Cache-Control', end === 'refused' ? 'no-store' : 'max-age=60').send('late');
              });
            });
          },
          { '/cached': { cache: { ttl: '1m' } } },
        );
        const socket = connect(port, '127.0.0.1');
        await once(socket, 'connect');
        socket.write(Array.from({ length: 12 }, (_, i) => request(`/cached?${i}`)).join(''));
        await waitFor(() => answers.length === 12);
        socket.resetAndDestroy();
        await waitFor(async () => (await inProgress()) === 0);
        for (let answer = answers.pop(); answer; answer = answers.pop()) answer();
        expect(perf.cache.stats()).toMatchObject({ pending: 0, entries: end === 'stored' ? 12 : 0 });
        await waitFor(() => {
          collectGarbage();
          // The machine may keep the last one on its stack.
          return responses.filter((ref) => ref.deref() !== undefined).length <= 1;
        });
      },
    );

    it('leave no listener on a connection that stays open', async () => {
      let listeners = -1;
      const { port, inProgress } = await serve((app) => {
        app.get('/count', (req, res) => {
          listeners = req.socket.listenerCount('close');
          res.send('counted');
        });
      });
      const socket = connect(port, '127.0.0.1');
      let text = '';
      socket.setEncoding('latin1').on('data', (chunk) => (text += chunk));
      await once(socket, 'connect');
      socket.write(request('/count'));
      await waitFor(() => text.includes('counted'));
      const alone = listeners;
      socket.write(request('/hit').repeat(30));
      await waitFor(async () => text.split('\r\n\r\nhit').length === 31 && (await inProgress()) === 0);
      text = '';
      socket.write(request('/count'));
      await waitFor(() => text.includes('counted'));
      expect(listeners).toBe(alone);
      socket.destroy();
    });
  });
});
