import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Express } from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen, majors, type RawAnswer, raw } from '../../helpers/http.js';
import { comparable, stacks } from '../../helpers/wire.js';

type Handler = (res: ServerResponse) => unknown;

/** Ways to send a head. A default body follows where a case sends none. */
const heads: Record<string, Handler> = {
  'nothing set': (res) => res.end('body'),
  setHeader: (res) => res.setHeader('X-A', '1').end('body'),
  'writeHead(status)': (res) => res.writeHead(201).end('body'),
  'writeHead(status, reason)': (res) => res.writeHead(201, 'Made').end('body'),
  'writeHead(status, object)': (res) =>
    res.writeHead(200, { 'X-A': '1', 'Cache-Control': 'private' }).end('body'),
  'writeHead(status, reason, object)': (res) => res.writeHead(200, 'Fine', { 'X-A': '1' }).end('body'),
  'writeHead(status, undefined, object)': (res) =>
    res.writeHead(200, undefined as never, { 'X-A': '1' }).end('body'),
  'writeHead with lists': (res) =>
    res.writeHead(200, { 'Set-Cookie': ['a=1', 'b=2'], 'X-A': ['1', '2'], 'X-N': 5 }).end('body'),
  'writeHead with a length': (res) => res.writeHead(200, { 'Content-Length': 4 }).end('body'),
  'writeHead with a flat array': (res) => res.writeHead(200, ['X-A', '1', 'X-B', '2']).end('body'),
  'writeHead over what was set': (res) => {
    res.setHeader('X-A', '0').setHeader('X-B', '0').setHeader('X-C', ['0', '1']);
    res.writeHead(200, { 'x-a': '1', 'X-C': '2' }).end('body');
  },
  statusMessage: (res) => {
    res.statusCode = 299;
    res.statusMessage = 'Odd';
    res.end('body');
  },
  'no Date': (res) => {
    res.sendDate = false;
    res.end('body');
  },
  'removed length': (res) => {
    res.setHeader('Content-Length', 4);
    res.removeHeader('Content-Length');
    res.end('body');
  },
  'a trailer': (res) => {
    // Node itself throws for an invalid trailer.
    if (res.req.method !== 'HEAD' && res.req.httpVersion !== '1.0') {
      res.setHeader('Trailer', 'X-T');
      res.write('body');
      res.addTrailers({ 'X-T': '1' });
    }
    res.end();
  },
  'an empty end': (res) => res.end(),
  'an empty string': (res) => res.end(''),
  'an empty write': (res) => {
    res.write('');
    res.end();
  },
  'two writes': (res) => {
    res.write('bo');
    res.end('dy');
  },
  flushHeaders: (res) => {
    res.setHeader('X-A', '1');
    res.flushHeaders();
    res.end('body');
  },
  cork: (res) => {
    res.cork();
    res.write('bo');
    res.write('dy');
    res.uncork();
    res.end();
  },
  '204': (res) => res.writeHead(204).end(),
  '204 with a body': (res) => {
    res.statusCode = 204;
    res.end('body');
  },
  '304': (res) => res.writeHead(304, { ETag: '"1"' }).end(),
  '304 with a body': (res) => {
    res.statusCode = 304;
    res.end('body');
  },
  '205': (res) => res.writeHead(205).end(),
  'Connection: close': (res) => res.writeHead(200, { Connection: 'close' }).end('body'),
  'an identity transfer': (res) => {
    res.useChunkedEncodingByDefault = false;
    res.write('body');
    res.end();
  },
};

/** Only where no field was set before: only there does Node know nested arrays, and Node 20 keep duplicates. */
const rawHeads: Record<string, Handler> = {
  'writeHead with a flat array and duplicates': (res) =>
    res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-A', '1', 'X-A', '2']).end('body'),
  'writeHead with nested arrays': (res) =>
    res
      .writeHead(200, [
        ['X-A', '1'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ] as never)
      .end('body'),
};

const requests = {
  GET: 'GET / HTTP/1.1\nHost: a\nConnection: close\n\n',
  HEAD: 'HEAD / HTTP/1.1\nHost: a\nConnection: close\n\n',
  'GET over HTTP/1.0': 'GET / HTTP/1.0\nHost: a\n\n',
  'GET over HTTP/1.0, kept alive': 'GET / HTTP/1.0\nHost: a\nConnection: keep-alive\n\n',
};

describe.each(majors)('bytes on the wire, on %s', (_name, express) => {
  /** The handler of the moment: the cases share the servers. */
  let handle: Handler;

  /** Serves an app for the tests of a group; without `prepare`, it is Express alone. */
  function serveApps(prepare: ((app: Express) => void) | undefined, hasPoweredBy: boolean): { port: number } {
    const served = { port: 0 };
    let server: Listening | undefined;
    beforeAll(async () => {
      const app = express();
      if (!hasPoweredBy) app.disable('x-powered-by');
      prepare?.(app);
      app.use((_req, res) => {
        handle(res);
      });
      server = await listen(app);
      served.port = server.port;
    });
    afterAll(() => server?.close());
    return served;
  }

  const alone = { true: serveApps(undefined, true), false: serveApps(undefined, false) };
  const remembered = new Map<string, RawAnswer>();
  /** The response of Express alone, which is the same beside every stack. */
  async function plain(what: string, hasPoweredBy: boolean, request: string): Promise<RawAnswer> {
    const key = JSON.stringify([what, hasPoweredBy, request]);
    const answer = remembered.get(key) ?? (await raw(alone[`${hasPoweredBy}`].port, request));
    remembered.set(key, answer);
    return answer;
  }

  describe.each(Object.keys(stacks))('with %s', (stack) => {
    const ours = { true: serveApps(stacks[stack], true), false: serveApps(stacks[stack], false) };

    describe.each([true, false])('x-powered-by: %s', (hasPoweredBy) => {
      const shapes = { ...heads, ...(hasPoweredBy ? {} : rawHeads) };
      it.each(Object.keys(shapes))('equal Express alone: %s [A20, A22]', async (shape) => {
        handle = shapes[shape]!;
        for (const [kind, request] of Object.entries(requests)) {
          // A kept-alive response without a length ends only with the connection.
          if (kind.endsWith('alive') && shape !== 'writeHead with a length') continue;
          const expected = await plain(shape, hasPoweredBy, request);
          const actual = await raw(ours[`${hasPoweredBy}`].port, request);
          expectEqual(actual, expected, kind);
        }
      });
    });

    it('keep the duplicates of a flat array over earlier values, like Node 22 and later [A22]', async () => {
      handle = (res) => {
        res.setHeader('X-A', '0').setHeader('X-B', '0');
        res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'x-a', '1', 'x-a', '2']).end('body');
      };
      const { headers } = await raw(ours.true.port, requests.GET);
      expect(headers.filter(([name]) => /^(?:set-cookie|x-[ab])$/i.test(name)).sort()).toEqual([
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['X-B', '0'],
        ['x-a', '1'],
        ['x-a', '2'],
      ]);
    });

    const encodings = [
      'utf8',
      'latin1',
      'ascii',
      'hex',
      'base64',
      'base64url',
      'utf16le',
      'ucs2',
      'binary',
    ] as const;
    it.each(encodings)(
      'equal Express alone: %s among buffers and other encodings [D13]',
      async (encoding) => {
        const text = encoding === 'hex' ? '616263' : encoding.startsWith('base64') ? 'w6liYw==' : 'aé€b';
        const handlers: Handler[] = [
          (res) => res.end(text, encoding),
          (res) => {
            res.write(Buffer.from([0xff, 0xfe]));
            res.write(text, encoding);
            res.write(new Uint8Array([1, 2, 3]));
            res.write('é', 'latin1');
            res.end('6162', 'hex');
          },
          (res) => {
            res.write('é');
            res.write('');
            res.end(text, encoding);
          },
          (res) => {
            res.write(text, encoding);
            res.end(new Uint8Array([0, 255]));
          },
        ];
        for (const [i, handler] of handlers.entries()) {
          handle = handler;
          for (const request of [requests.GET, requests['GET over HTTP/1.0']]) {
            const expected = await plain(`${encoding} ${i}`, true, request);
            expectEqual(await raw(ours.true.port, request), expected, `handler ${i}`);
          }
        }
      },
    );

    it('keep the order of pipelined requests', async () => {
      let count = 0;
      handle = (res) => {
        const mine = ++count;
        setTimeout(() => res.end(`answer ${mine}`), mine % 2 ? 10 : 0);
      };
      const three = 'GET /1 HTTP/1.1\nHost: a\n\n'.repeat(2) + requests.GET;
      for (const { port } of [alone.true, ours.true]) {
        count = 0;
        const socketText = await collect(port, three);
        expect(socketText.match(/answer \d/g)).toEqual(['answer 1', 'answer 2', 'answer 3']);
      }
    });
  });
});

/** `expect` costs more than the comparison, so it is called only to report a failure. */
function expectEqual(actual: RawAnswer, expected: RawAnswer, what: string): void {
  const [ours, plain] = [comparable(actual), comparable(expected)];
  if (JSON.stringify(ours) !== JSON.stringify(plain)) expect(ours, what).toEqual(plain);
}

async function collect(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request.replace(/\n/g, '\r\n'));
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}
