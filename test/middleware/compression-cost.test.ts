import { once } from 'node:events';
import { connect } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { majors, raw, waitFor } from '../helpers/http.js';
import { type Measured, startMeasured } from '../helpers/measured.js';

const MB = 1024 * 1024;

describe.each(majors)('what compression costs on %s', (major) => {
  describe.each(['standalone', 'composed'])('%s', (mount) => {
    let measured: Measured;
    afterEach(async () => {
      await measured.close();
    });

    // What is left behind once is left behind each time: the full number is run once.
    const count = major === 'Express 5' && mount === 'composed' ? 20_000 : 2_000;

    it(`E07: ${count} streams that are broken off leave nothing behind`, async () => {
      measured = await startMeasured(`stalled, ${mount}`, major);
      const abort = async (coding: string) => {
        const socket = connect(measured.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(`GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${coding}\r\n\r\n`);
        await once(socket, 'data');
        socket.destroy();
      };
      const some = async (all: number) => {
        let left = all;
        const worker = async () => {
          while (left-- > 0) await abort(left % 8 === 0 ? 'br' : 'gzip');
        };
        await Promise.all(Array.from({ length: 20 }, worker));
        await waitFor(async () => (await measured.measure()).connections === 0);
        return measured.measure();
      };
      const before = await some(1_000); // by then the heap and the allocator have found their size
      const after = await some(count - 1_000);
      expect(after.calls).toBe(count);
      // A stream of zlib that is forgotten is some 250 kB.
      expect((after.rss - before.rss) / MB).toBeLessThan(50);
      expect((after.used - before.used) / MB).toBeLessThan(8);
    }, 120_000);

    it('E10: 50 answers of 640 kB at once, in Brotli, cost and hold up a fraction of what the greatest quality does', async () => {
      measured = await startMeasured(`large, ${mount}`, major);
      const get = () =>
        raw(measured.port, 'GET / HTTP/1.1\nHost: a\nAccept-Encoding: br\n\n', { timeout: 15_000 });
      for (let i = 0; i < 20; i++) await get();
      // Others use the machine as well: the best of a few rounds counts.
      const rounds: { cpu: number; lag: number }[] = [];
      for (let round = 0; round < 4; round++) {
        const before = await measured.measure();
        const answers = await Promise.all(Array.from({ length: 50 }, get));
        const after = await measured.measure();
        for (const answer of answers) expect(answer.header('content-encoding')).toBe('br');
        expect(brotliDecompressSync(answers[0]!.body).length).toBeGreaterThan(640_000);
        rounds.push({ cpu: (after.cpu - before.cpu) / 50, lag: after.lag });
      }
      // Brotli's own default is quality 11: one body at it, on this machine, now. Milliseconds.
      const body = brotliDecompressSync((await get()).body);
      const began = process.cpuUsage();
      brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
      const { user, system } = process.cpuUsage(began);
      const greatest = (user + system) / 1000;
      expect(Math.min(...rounds.map(({ cpu }) => cpu))).toBeLessThan(greatest / 5);
      expect(Math.min(...rounds.map(({ lag }) => lag))).toBeLessThan(greatest / 2);
    });
  });
});
