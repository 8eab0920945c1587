import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Express, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { casesFor, mountRows, mounts, placeOf } from '../../compat/mounts.js';
import { ask } from '../../helpers/client.js';
import { majors, waitFor } from '../../helpers/http.js';
import { invariants, valuesOf } from '../../helpers/invariants.js';
import { type Mount, pairOf } from '../../helpers/same.js';

const check = invariants();
const PIECE = Buffer.alloc(64 * 1024, 'some text, and then some more. ');

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function begin(port: number, path: string, headers = ''): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
  return socket;
}

describe.each(majors)('aborted responses on %s', (major, express) => {
  const serve = (mount: Mount, routes: (app: Express) => void) => pairOf(check, express, { mount, routes });

  it('starts a new fill for collapsed requests when the first response is destroyed [D06]', async () => {
    let runs = 0;
    const pair = await serve(mounts['composed, first']!, (app) => {
      app.get('/cached/a', (_req, res) => {
        const mine = ++runs;
        const source = Readable.from(
          (async function* () {
            await new Promise((resolve) => setTimeout(resolve, 50));
            if (mine === 1) throw new Error('the source fails before its first byte');
            yield 'whole';
          })(),
        );
        pipeline(source, res, () => {});
      });
    });
    const answers = await Promise.all(
      [1, 2, 3].map(() => ask(pair.ours.port, { path: '/cached/a', agent: false })),
    );
    // Requests that wait until the deadline would each run the handler: three runs in all.
    expect(answers.map(({ status }) => status).sort()).toEqual([0, 200, 200]);
    expect(runs).toBe(2);
  });

  describe.each(mountRows)('%s', (way, mount) => {
    const moments = [
      ['before the head', 'head'],
      ['between the head and the body', 'body'],
      ['in the middle of the body', 'rest'],
      ['once the end was written', 'end'],
    ] as const;
    it.each(casesFor(major, way, moments))(
      'survives a client that leaves %s, and serves the next request whole [D04, D05, E14, I08]',
      async (_when, moment) => {
        const reached: string[] = [];
        const go = new Map<string, () => void>();
        const routes = (app: Express) => {
          app.get(['/cached/slow', '/plain'], async (req, res) => {
            const pass = async (name: string) => {
              reached.push(name);
              if (name === moment && req.headers['x-leaves']) {
                await new Promise<void>((resolve) => go.set(req.path, resolve));
              }
            };
            await pass('head');
            res.type('text').flushHeaders();
            await pass('body');
            res.write(PIECE);
            await pass('rest');
            res.end(PIECE);
            await pass('end');
          });
        };
        const pair = await serve(mount, routes);
        // Pairwise: each moment and each way of mounting meet every coding on both paths.
        const place = moments.findIndex(([, each]) => each === moment) + placeOf(way);
        for (const [i, path] of ['/plain', '/cached/slow'].entries()) {
          const coding = ['identity', 'gzip', 'br'][(place + i) % 3]!;
          reached.length = 0;
          const socket = begin(pair.ours.port, path, `Accept-Encoding: ${coding}\r\nX-Leaves: 1\r\n`);
          await waitFor(() => reached.includes(moment));
          socket.destroy();
          await waitFor(async () => (await connections(pair.ours.server)) === 0);
          go.get(path)?.();
          go.delete(path);
          const got = await ask(pair.ours.port, {
            path,
            agent: false,
            headers: { 'Accept-Encoding': coding },
          });
          expect(got.status).toBe(200);
          expect(got.whole).toBe(true);
          expect(got.body.equals(Buffer.concat([PIECE, PIECE]))).toBe(true);
        }
        // Hits of the outer of two instances never reach the inner one.
        const [registry] = pair.mounted.registries;
        if (registry) {
          // The last response may not be counted yet.
          const total = async () =>
            (await valuesOf(registry, 'http_requests_total'))
              .filter(({ labels }) => labels.path !== '/health')
              .reduce((sum, { value }) => sum + value, 0);
          await waitFor(async () => (await total()) >= 4);
          expect(await total()).toBe(4);
        }
      },
    );

    const longBodies = [
      ['/plain', 'gzip'],
      ['/cached/big', 'identity'],
    ] as const;
    it.each(casesFor(major, way, longBodies))(
      'keeps back-pressure and flat memory for a handler of %s: %s [D09]',
      async (path, coding) => {
        // Longer than the window of gzip, so that compression does not shorten it.
        const noise = randomBytes(64 * 1024);
        let total = 16 * 1024 ** 2;
        let written = 0;
        let refusals = 0;
        let drains = 0;
        const pair = await serve(mount, (app) => {
          app.get(['/cached/big', '/plain'], async (_req, res: Response) => {
            res.type('application/octet-stream');
            for (written = 0; written < total; written += noise.length) {
              if (res.write(noise)) continue;
              refusals++;
              await once(res, 'drain');
              drains++;
            }
            res.end();
          });
        });
        const socket = begin(pair.ours.port, path, `Accept-Encoding: ${coding}\r\nConnection: close\r\n`);
        let received = 0;
        await once(socket, 'readable');
        // The client reads nothing, so the handler has to stop long before the end.
        let before = -1;
        await waitFor(async () => {
          const isStill = before === written;
          before = written;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return isStill;
        });
        expect(refusals).toBeGreaterThan(drains);
        expect(written).toBeLessThan(total / 2);
        // The rest only has to be longer than what is in flight, and than the longest body that is stored.
        total = written + 2 * 1024 ** 2;
        for await (const chunk of socket) received += chunk.length;
        expect(received).toBeGreaterThan(total);
        expect(drains).toBe(refusals);
        for (const cache of pair.mounted.caches)
          expect(cache.stats()).toMatchObject({ entries: 0, bytes: 0 });
      },
    );
  });

  it('keeps no reference to a closed response [K10]', async () => {
    const servers: Server[] = [];
    const refs = mountRows.map((): WeakRef<Response>[] => []);
    for (const [i, [, mount]] of mountRows.entries()) {
      const pair = await serve(mount, (app) => {
        app.get(['/cached/a', '/plain'], (_req, res) => {
          refs[i]!.push(new WeakRef(res));
          res.type('text').send(PIECE.toString());
        });
      });
      for (let i = 0; i < 10; i++) {
        await ask(pair.ours.port, {
          path: `/cached/a?${i}`,
          agent: false,
          headers: { 'Accept-Encoding': 'gzip' },
        });
        await ask(pair.ours.port, { path: '/plain', agent: false, headers: { 'Accept-Encoding': 'br' } });
        begin(pair.ours.port, '/plain').destroy();
      }
      servers.push(pair.ours.server);
    }
    for (const server of servers) await waitFor(async () => (await connections(server)) === 0);
    await waitFor(() => {
      // Of all apps at once, because it takes long.
      collectGarbage();
      // The machine may keep the last response on its stack.
      return refs.every((each) => each.filter((ref) => ref.deref() !== undefined).length <= 1);
    });
  });
});

function connections(server: {
  getConnections(done: (error: Error | null, count: number) => void): unknown;
}) {
  return new Promise<number>((resolve) => void server.getConnections((_error, count) => resolve(count)));
}
