import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { majors, partOn4, raw, waitFor } from '../../helpers/http.js';
import { type Measured, startMeasured } from '../../helpers/measured.js';

// The limit of these apps.
const LIMIT = 1024 * 1024;
const MB = 1024 * 1024;
/** The widest accepted window takes the most memory to decode. The best quality makes the bomb no smaller. */
const WIDEST = {
  params: { [zlib.constants.BROTLI_PARAM_LGWIN]: 22, [zlib.constants.BROTLI_PARAM_QUALITY]: 9 },
};

const bombs = [
  ['gzip', zlib.gzipSync(Buffer.alloc(128 * MB))],
  ['br', zlib.brotliCompressSync(Buffer.alloc(64 * MB), WIDEST)],
  ['deflate', zlib.deflateSync(Buffer.alloc(64 * MB))],
] as const;

/** The cost of inflating the bombs completely, on this machine. Milliseconds of CPU time. */
function costOfInflation(): number {
  const began = process.cpuUsage();
  zlib.gunzipSync(bombs[0][1]);
  zlib.brotliDecompressSync(bombs[1][1]);
  zlib.inflateSync(bombs[2][1]);
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1000;
}
let whole: number | undefined;

describe.each(majors)('the cost of the size limit on %s', (major) => {
  // F14: the memory of uploads without the limit, which does not depend on the mount.
  let plain: { peak: number } | undefined;
  describe.each(partOn4(major, ['standalone', 'composed'], ['composed']))('%s', (mount) => {
    let measured: Measured;
    const sockets: Socket[] = [];
    const start = async (app: string, mounted = mount) => {
      measured = await startMeasured(`${app}, ${mounted}`, major);
      // The first request loads modules, which is not measured.
      for (let i = 0; i < 20; i++) await raw(measured.port, post(zlib.gzipSync('warm'), 'gzip'));
      return measured.measure();
    };
    beforeEach(() => {
      sockets.length = 0;
    });
    afterEach(async () => {
      for (const socket of sockets) socket.destroy();
      await measured.close();
    });
    const post = (body: Buffer, coding: string) => [
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding}\r\nContent-Length: ${body.length}\r\n\r\n`,
      body,
    ];
    const open = async () => {
      const socket = connect(measured.port, '127.0.0.1');
      socket.on('error', () => {});
      sockets.push(socket);
      await once(socket, 'connect');
      return socket;
    };

    it('rejects gzip and Brotli bombs below the cost of inflating them, within 20 MB [F05]', async () => {
      let before = await start('parsed');
      // Measuring collects garbage, whose cost is not part of the bombs.
      const idle = (await measured.measure()).cpu - before.cpu;
      before = await measured.measure();
      expect(bombs[1][1].length).toBeLessThan(200);
      let spent = 0;
      for (const [coding, bomb] of bombs) {
        expect((await raw(measured.port, post(bomb, coding))).status, coding).toBe(413);
        const after = await measured.measure();
        expect(after.calls - before.calls, `${coding}: calls`).toBe(0);
        spent += Math.max(0, after.cpu - before.cpu - idle);
        expect((after.peak - before.rss) / MB, `${coding}: memory`).toBeLessThan(20);
        before = after;
      }
      whole ??= costOfInflation();
      expect(spent).toBeLessThan(whole);
    });

    it('holds no memory for 500 slow bodies, which time out as Node defines [F13]', async () => {
      const before = await start('discarded');
      const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT}\r\n\r\n`;
      await Promise.all(Array.from({ length: 500 }, async () => (await open()).write(`${head}x`)));
      await waitFor(async () => (await measured.count()).calls - before.calls === 500);
      const during = await measured.measure();
      // The socket, the request, the response and the objects of Express: no body, and no buffer for one.
      expect((during.used - before.used) / 500).toBeLessThan(40 * 1024);
      for (const socket of sockets) socket.destroy();
      await waitFor(async () => (await measured.count()).connections === 0);
      const after = await measured.measure();
      expect((after.used - before.used) / 500).toBeLessThan(4 * 1024);
    });

    it('takes no extra memory for 200 simultaneous uploads at the limit [F14]', async () => {
      const piece = Buffer.alloc(LIMIT / 16, 'x');
      const upload = async () => {
        const socket = await open();
        let answer = '';
        socket.on('data', (chunk) => {
          answer += chunk;
        });
        socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT}\r\n\r\n`);
        for (let i = 0; i < 16; i++) if (!socket.write(piece)) await once(socket, 'drain');
        await waitFor(() => answer.endsWith('ok'));
        return answer.slice(0, 12);
      };
      const grown = async (mounted: string) => {
        const before = await start('discarded', mounted);
        const answers = await Promise.all(Array.from({ length: 200 }, upload));
        expect(new Set(answers)).toEqual(new Set(['HTTP/1.1 200']));
        const after = await measured.measure();
        return { peak: (after.peak - before.rss) / MB, kept: (after.used - before.used) / MB };
      };
      if (!plain) {
        plain = await grown('plain');
        await measured.close();
      }
      const limited = await grown(mount);
      // 200 MB pass through. Buffered bodies would all be in the peak. The buffers of Node
      // are in both peaks, and vary by some 30 MB between runs.
      expect(limited.peak - plain.peak).toBeLessThan(100);
      expect(limited.kept).toBeLessThan(4);
    });
  });
});
