import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import zlib from 'node:zlib';
import type { RequestHandler, Response } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { compression } from '../../../src/middleware/compression/index.js';
import type { StandaloneCompressionOptions } from '../../../src/middleware/compression/options.js';
import { type Listening, listen, majors, partOn4, waitFor } from '../../helpers/http.js';

const DECODERS = { br: zlib.createBrotliDecompress, gzip: zlib.createGunzip, deflate: zlib.createInflate };
type Coding = keyof typeof DECODERS;
const WORDS = 'tokens of a model arrive one by one and each is short '.split(/(?<= )/);

let server: Listening | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await server?.close();
});

const mounts: [string, (options?: StandaloneCompressionOptions) => RequestHandler][] = [
  ['standalone', (options) => compression(options)],
  ['composed', (options) => hotpath({ compression: options as object }) as RequestHandler],
];

describe.each(majors)('text written in pieces on %s', (major, express) => {
  describe.each(partOn4(major, mounts, mounts.slice(1)))('%s', (_mount, mount) => {
    async function serve(handler: (res: Response) => unknown, options: StandaloneCompressionOptions = {}) {
      const app = express();
      app.use(mount(options));
      app.get('/', (_req, res) => {
        handler(res);
      });
      server = await listen(app);
    }

    /** Reads a response as it comes: its text so far, and the number of its bytes. */
    async function get(coding: Coding) {
      const headers = { 'Accept-Encoding': coding };
      const req = request({ host: '127.0.0.1', port: server!.port, agent: false, headers }).end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      const got = { res, text: '', bytes: 0, done: once(res, 'close') };
      expect(res.headers['content-encoding']).toBe(coding);
      res.on('data', (chunk: Buffer) => {
        got.bytes += chunk.length;
      });
      const decoder = res.pipe(DECODERS[coding]());
      decoder.on('data', (text: Buffer) => {
        got.text += text;
      });
      const ended = once(decoder, 'end');
      return Object.assign(got, { ended });
    }

    it.each(['br', 'gzip', 'deflate'] as const)(
      'reaches the client while the handler pauses, in %s [E08]',
      async (coding) => {
        let response: Response | undefined;
        await serve(
          (res) => {
            response = res;
            res.type('text').write('first ');
          },
          { encodings: [coding] },
        );
        const got = await get(coding);
        // The handler goes on only when the client has what was written so far.
        await waitFor(() => got.text === 'first ');
        for (const word of ['second ', 'third ', 'fourth ']) {
          const before = got.text;
          response!.write(word);
          await waitFor(() => got.text === before + word);
        }
        response!.end('last');
        await got.ended;
        expect(got.text).toBe('first second third fourth last');
      },
    );

    it('reaches the client although the handler never pauses [E08]', async () => {
      let isGoing = true;
      await serve(async (res) => {
        res.type('text');
        for (let at = 0; isGoing; at++) {
          res.write(WORDS[at % WORDS.length]!);
          await sleep(5);
        }
        res.end();
      });
      const got = await get('br');
      await waitFor(() => got.text.length > 0);
      const before = got.text.length;
      await waitFor(() => got.text.length > before);
      isGoing = false;
      await got.ended;
    });

    it('starts no timer and flushes nothing where the end follows in the same tick', async () => {
      const flush = vi.spyOn(Object.getPrototypeOf(zlib.createGzip()), 'flush');
      const timers = vi.spyOn(globalThis, 'setTimeout');
      await serve((res) => {
        res.type('text').write('first ');
        res.write('second ');
        res.end('last');
      });
      const got = await get('gzip');
      await got.ended;
      expect(got.text).toBe('first second last');
      expect(flush).not.toHaveBeenCalled();
      expect(timers.mock.calls.filter(([, wait]) => wait! > 15 && wait! <= 20)).toEqual([]);
    });

    it('does not flush after the last byte that the handler has declared', async () => {
      const flush = vi.spyOn(Object.getPrototypeOf(zlib.createGzip()), 'flush');
      let response: Response | undefined;
      await serve((res) => {
        response = res;
        res.type('text').set('Content-Length', '1200').write('a'.repeat(600));
        setImmediate(() => res.write('b'.repeat(600)));
      });
      const pending = get('gzip');
      await waitFor(() => response !== undefined);
      await sleep(60);
      expect(flush).not.toHaveBeenCalled();
      response!.end();
      const got = await pending;
      await got.ended;
      expect(got.text).toBe('a'.repeat(600) + 'b'.repeat(600));
    });

    it('leaves everything to the end with `flushAfter: false`, but for `res.flush()` [E08]', async () => {
      let response: (Response & { flush?: () => void }) | undefined;
      await serve(
        (res) => {
          response = res;
          res.type('text').write('first ');
        },
        { flushAfter: false },
      );
      const flush = vi.spyOn(Object.getPrototypeOf(zlib.createGzip()), 'flush');
      const got = await get('gzip');
      await sleep(60);
      expect([got.text, flush.mock.calls.length]).toEqual(['', 0]);
      response!.flush!();
      await waitFor(() => got.text === 'first ');
      expect(flush.mock.calls).toEqual([[zlib.constants.Z_SYNC_FLUSH]]);
      response!.end('last');
      await got.ended;
      expect(got.text).toBe('first last');
    });

    it('keeps tokens in 30 ms steps small: at most ten flushes a second, and no full flush', async () => {
      const flush = vi.spyOn(Object.getPrototypeOf(zlib.createBrotliCompress()), 'flush');
      const times: number[] = [];
      flush.mockImplementation(function (this: zlib.BrotliCompress, ...args: unknown[]) {
        times.push(performance.now());
        return (this.write as (...args: unknown[]) => boolean)(Buffer.alloc(0), ...args.slice(2)) as never;
      });
      await serve(async (res) => {
        res.type('text');
        for (let at = 0; at < 20; at++) {
          res.write(WORDS[at % WORDS.length]!);
          await sleep(30);
        }
        res.end();
      });
      const got = await get('br');
      await got.ended;
      expect(times.length).toBeGreaterThan(1);
      for (let at = 1; at < times.length; at++) expect(times[at]! - times[at - 1]!).toBeGreaterThan(98);
    });

    it('does not flush while the client reads too slowly, and sends the rest afterwards [E08]', async () => {
      const noise = randomBytes(64 * 1024);
      let response: Response | undefined;
      let isFull = false;
      await serve(async (res) => {
        response = res;
        res.type('text');
        while (!res.writableNeedDrain) if (!res.write(noise)) await sleep(2);
        isFull = true;
      });
      const headers = { 'Accept-Encoding': 'gzip' };
      const req = request({ host: '127.0.0.1', port: server!.port, agent: false, headers }).end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      await waitFor(() => isFull);
      const flush = vi.spyOn(Object.getPrototypeOf(zlib.createGzip()), 'flush');
      response!.write('the last words');
      await sleep(150);
      expect(flush).not.toHaveBeenCalled();
      let tail = '';
      const decoder = res.pipe(zlib.createGunzip());
      decoder.on('data', (text: Buffer) => {
        tail = (tail + text.toString('latin1')).slice(-14);
      });
      await waitFor(() => tail === 'the last words');
      response!.end();
      await once(decoder, 'end');
    });

    it('offers `res.flush()` to clients that accept no coding too [E08]', async () => {
      await serve((res) => {
        res.type('text').write('first ');
        (res as Response & { flush: () => void }).flush();
        res.end('last');
      });
      expect(await (await fetch(server!.url, { headers: { 'Accept-Encoding': 'identity' } })).text()).toBe(
        'first last',
      );
    });
  });
});
