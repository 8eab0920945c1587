import { createHook } from 'node:async_hooks';
import zlib from 'node:zlib';
import type express5 from 'express';
import type { Express, Response } from 'express';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { afterEach, vi } from 'vitest';
import { type Got, ask as send } from './client.js';
import { listen, waitFor } from './http.js';

/** Long text with many different words: every coding shrinks it, and higher quality shrinks it more. */
export const PAGE = Array.from(
  { length: 600 },
  (_, i) => `item ${i} costs ${(i * 7919) % 1009} and is sold `,
).join('');

/** An app for tests of encoded bodies. */
export interface EncodedApp {
  readonly perf: Hotpath;
  readonly port: number;
  /** Sends a request, by default a GET that accepts these codings. */
  ask(
    accept: string | undefined,
    more?: { path?: string | undefined; method?: string; headers?: object },
  ): Promise<Got>;
  /** The number of handler runs. */
  runs(): number;
  /** Sends requests until the encoded body exists: a fill, then a hit that is compressed on the way. */
  warm(coding: string, path?: string): Promise<void>;
}

const open: (() => Promise<void>)[] = [];

/** Creates an app with routes cached for a minute. Its handler sends `PAGE` by default. */
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

/** Counts the compression streams of responses. Encoding in the background does not use streams. */
export function countStreams(): () => number {
  const spies = (['createGzip', 'createDeflate', 'createBrotliCompress'] as const).map((name) =>
    vi.spyOn(zlib, name),
  );
  return () => spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
}

/** Counts all calls of `node:zlib`, in the background too, until the test ends. */
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
