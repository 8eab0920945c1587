import { once } from 'node:events';
import { connect } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { majors, partOn4, raw, waitFor } from '../../helpers/http.js';
import { type Measured, startMeasured } from '../../helpers/measured.js';

const MB = 1024 * 1024;

// Brotli takes seconds at the best quality, so each text is encoded once.
const sizes = new Map<string, number>();
function sizeAt(quality: number, body: Buffer): number {
  const key = `${quality} ${body}`;
  const size =
    sizes.get(key) ??
    brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: quality } }).length;
  sizes.set(key, size);
  return size;
}

describe.each(majors)('the cost of compression on %s', (major) => {
  describe.each(partOn4(major, ['standalone', 'composed'], ['composed']))('%s', (mount) => {
    let measured: Measured;
    afterEach(async () => {
      await measured.close();
    });

    // Memory that leaks once leaks each time, so the full number runs only once.
    const count = major === 'Express 5' && mount === 'composed' ? 20_000 : 500;

    it(`frees all memory of ${count} aborted streams [E07]`, async () => {
      measured = await startMeasured(`stalled, ${mount}`, major);
      const abort = async (path: string, coding: string) => {
        const socket = connect(measured.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${coding}\r\n\r\n`);
        await once(socket, 'data');
        socket.destroy();
      };
      const some = async (all: number) => {
        let left = all;
        const worker = async () => {
          // The memory of a stream hardly depends on its input, so only one of 32 of each coding gets much.
          while (left-- > 0) {
            await abort(left % 256 < 8 ? '/much' : '/little', left % 8 === 0 ? 'br' : 'gzip');
          }
        };
        await Promise.all(Array.from({ length: 20 }, worker));
        await waitFor(async () => (await measured.count()).connections === 0);
        return measured.measure();
      };
      // Measured, and so collected, after each quarter, because V8 decides when to collect in between. After the
      // first quarter the heap and the allocator have reached their size.
      const before = await some(count / 4);
      let after = before;
      for (let quarter = 1; quarter < 4; quarter++) after = await some(count / 4);
      expect(after.calls).toBe(count);
      // A leaked zlib stream takes some 250 kB.
      expect((after.rss - before.rss) / MB).toBeLessThan(50);
      expect((after.used - before.used) / MB).toBeLessThan(8);
    }, 300_000);

    it('uses Brotli quality 4 at a small part of the cost of its default [E10]', async () => {
      measured = await startMeasured(`large, ${mount}`, major);
      const get = () => raw(measured.port, 'GET / HTTP/1.1\nHost: a\nAccept-Encoding: br\n\n');
      const answers = await Promise.all(Array.from({ length: 8 }, get));
      for (const answer of answers) expect(answer.header('content-encoding')).toBe('br');
      const sent = answers[0]!.body;
      const body = brotliDecompressSync(sent);
      expect(body.length).toBeGreaterThan(640_000);
      // The output sizes of the qualities differ, so they show the quality on any machine.
      expect(Math.abs(sent.length / sizeAt(4, body) - 1)).toBeLessThan(0.02);
      expect(sent.length).toBeGreaterThan(sizeAt(11, body) * 1.05);
    });
  });
});
