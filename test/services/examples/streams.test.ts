import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import express from 'express';
import { afterEach, describe, expect, test } from 'vitest';
import { ProgressStreams } from '../../../examples/products-api/jobs/progress-streams.js';
import { jobSettingsFromEnv } from '../../../examples/products-api/jobs/settings.js';
import { openThreadEngine } from '../../../examples/products-api/jobs/thread-engine.js';
import type { JobStatus } from '../../../examples/products-api/jobs/types.js';
import { eventRoutes, shopEvents } from '../../../examples/products-api/routes/events.js';
import { forecastRoutes } from '../../../examples/products-api/routes/forecasts.js';
import { waitFor } from '../../helpers/http.js';

const SIMULATION = new URL('../../examples/simulation.mjs', import.meta.url);

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** Serves the routes, and sends requests on one connection, without waiting for responses. */
async function serve(routes: express.Router) {
  const server = express().use('/api', routes).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket: Socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  closers.push(
    () => socket.destroy(),
    () => server.close(),
  );
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return {
    send(...requests: string[]) {
      socket.write(requests.map((request) => `${request} HTTP/1.1\r\nHost: shop\r\n\r\n`).join(''));
    },
    text: () => text,
  };
}

async function startJobs() {
  const jobs = openThreadEngine(jobSettingsFromEnv({}), SIMULATION);
  const streams = new ProgressStreams(jobs);
  closers.push(() => jobs.close());
  const client = await serve(forecastRoutes({ db: { query: async () => [] }, jobs, streams }));
  const submit = async () => {
    const input = { productId: 4, days: 30, runs: 1_000 };
    return jobs.submit({ input, sales: [1], observedDays: 365, stock: 5, seed: 1 }, 'normal');
  };
  const pathOf = ({ id }: JobStatus) => `/api/forecasts/${id}/events`;
  return { jobs, streams, submit, pathOf, ...client };
}

describe('the events of a forecast', () => {
  test('get nothing after their end, which waits for an earlier response on the connection', async () => {
    const { jobs, streams, submit, pathOf, send } = await startJobs();
    const [first, second] = [await submit(), await submit()];
    send(`GET ${pathOf(first)}`, `GET ${pathOf(second)}`);
    await waitFor(() => streams.size === 2);
    await jobs.cancel(second.id);
    await waitFor(() => streams.size === 1);
  });

  test('respond to HEAD at once', async () => {
    const { streams, submit, pathOf, send, text } = await startJobs();
    send(`HEAD ${pathOf(await submit())}`);
    await waitFor(() => text().endsWith('\r\n\r\n'));
    expect(text()).toContain('Content-Type: text/event-stream');
    expect(streams.size).toBe(0);
  });
});

describe('the events of the shop', () => {
  test('get nothing after their end, which waits for an earlier response on the connection', async () => {
    const events = shopEvents();
    const routes = eventRoutes(events);
    routes.get('/never', () => {});
    const { send } = await serve(routes);
    send('GET /api/never', 'GET /api/events');
    await waitFor(() => events.listenerCount('product') === 1);
    events.emit('closing');
    expect(events.listenerCount('product')).toBe(0);
  });

  test('respond to HEAD at once', async () => {
    const events = shopEvents();
    const { send, text } = await serve(eventRoutes(events));
    send('HEAD /api/events');
    await waitFor(() => text().endsWith('\r\n\r\n'));
    expect(text()).toContain('Content-Type: text/event-stream');
    expect(events.listenerCount('product')).toBe(0);
  });
});
