import { once } from 'node:events';
import { gunzipSync } from 'node:zlib';
import type { Response } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { type Hotpath, hotpath } from '../../../src/index.js';
import { type Listening, listen, majors, raw } from '../../helpers/http.js';

let server: Listening | undefined;
let perf: Hotpath | undefined;
afterEach(async () => {
  await server?.close();
  await perf?.close();
});

describe.each(majors)('compression as one of the six middlewares, on %s', (_name, express) => {
  async function get(handler: (res: Response) => unknown) {
    const app = express();
    perf = hotpath();
    app.use(perf);
    app.get('/', (_req, res) => {
      handler(res);
    });
    server = await listen(app);
    return raw(server.port, 'GET / HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n\n');
  }

  it('calls `drain` listeners that were added before the first byte, each as registered [E08]', async () => {
    const chunk = Buffer.alloc(64 * 1024, 'noise and signal ');
    const calls = { on: 0, once: 0, gone: 0 };
    let waits = 0;
    const answer = await get(async (res) => {
      const gone = () => calls.gone++;
      res.on('drain', () => calls.on++);
      res.once('drain', () => calls.once++);
      res.on('drain', gone);
      res.off('drain', gone);
      res.type('text');
      for (let i = 0; i < 40; i++) {
        if (res.write(chunk)) continue;
        waits++;
        await once(res, 'drain');
      }
      res.end();
    });
    expect(answer.header('content-encoding')).toBe('gzip');
    expect(gunzipSync(answer.body).length).toBe(40 * chunk.length);
    expect(waits).toBeGreaterThan(1);
    expect(calls.on).toBeGreaterThanOrEqual(waits);
    expect(calls).toMatchObject({ once: 1, gone: 0 });
  });

  it.each(['text/plain', 'text/event-stream'])(
    'offers `res.flush()` from the start, for %s [E08]',
    async (type) => {
      const answer = await get((res) => {
        const { flush } = res as Response & { flush: () => void };
        flush.call(res);
        res.type(type).write('first ');
        (res as Response & { flush: () => void }).flush();
        res.end('last');
      });
      const isCoded = answer.header('content-encoding') === 'gzip';
      expect(isCoded).toBe(type === 'text/plain');
      expect(isCoded ? gunzipSync(answer.body).toString() : answer.text).toContain('first ');
    },
  );
});
