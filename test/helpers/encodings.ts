import { createHook } from 'node:async_hooks';
import zlib from 'node:zlib';
import type express5 from 'express';
import type { Express, Response } from 'express';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { afterEach, vi } from 'vitest';
import { type Got, ask as send } from './client.js';
import { listen, waitFor } from './http.js';

/** Long, and of many different words: every coding gains, and a greater effort gains more. */
export const PAGE = Array.from(
  { length: 600 },
  (_, i) => `item ${i} costs ${(i * 7919) % 1009} and is sold `,
).join('');

/** The app of a test of encoded variants. */
export interface EncodedApp {
  readonly perf: Hotpath;
  readonly port: number;
  /** GET, unless told otherwise, accepting these codings. */
  ask(accept: string | undefined, more?: { path?: string; method?: string; headers?: object }): Promise<Got>;
  /** The handler's runs. */
  runs(): number;
  /** Asks until the form in this coding is there: a fill, if need be, and a hit that is compressed as it goes. */
  warm(coding: string, path?: string): Promise<void>;
}

const open: (() => Promise<void>)[] = [];

/** Makes an app whose routes are cached for a minute and whose handler, by default, sends `PAGE`. */
export async function encodedApp(
  express: typeof express5,
  options: {
    config?: HotpathConfig;
    before?: (app: Express) => void;
    /** Between hotpath and the handler. */
    routes?: (app: Express, perf: Hotpath) => void;
    handler?: (req: { path: string }, res: Response) => void;
  } = {},
): Promise<EncodedApp> {
  const perf = hotpath({ routes: { '/*path': { cache: { ttl: 60 } } }, metrics: false, ...options.config });
  const app = express();
  let runs = 0;
  options.before?.(app);
  app.use(perf);
  options.routes?.(app, perf);
  app.use((req, res) => {
    runs++;
    if (options.handler) options.handler(req, res);
    else res.set('ETag', '"abc"').type('text').send(PAGE);
  });
  const { port, close } = await listen(app);
  open.push(async () => {
    await perf.close();
    await close();
  });
  const ask: EncodedApp['ask'] = (accept, { path = '/page', method, headers } = {}) =>
    send(port, {
      path,
      method,
      agent: false,
      headers: { ...(accept === undefined ? {} : { 'Accept-Encoding': accept }), ...headers },
    });
  return {
    perf,
    port,
    ask,
    runs: () => runs,
    async warm(coding, path) {
      const done = () => {
        const { made, useless } = perf.cache.stats().encodings;
        return made + useless;
      };
      const before = done();
      if (perf.cache.stats().hits === 0) await ask('identity', { path });
      await ask(coding, { path });
      await ask(coding, { path });
      await waitFor(() => done() > before);
    },
  };
}

/** Counts the streams that compress answers as they go. Encoding in the background does not use these. */
export function countStreams(): () => number {
  const spies = (['createGzip', 'createDeflate', 'createBrotliCompress'] as const).map((name) =>
    vi.spyOn(zlib, name),
  );
  return () => spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
}

/** Counts all that `node:zlib` is asked to do, in the background too, until the test has ended. */
export function countZlib(): () => number {
  let count = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'ZLIB') count++;
    },
  }).enable();
  hooks.push(() => hook.disable());
  return () => count;
}
const hooks: (() => unknown)[] = [];

afterEach(async () => {
  for (const disable of hooks.splice(0)) disable();
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((close) => close()));
});
