import { gunzipSync } from 'node:zlib';
import codegenieModule from '@codegenie/serverless-express';
import type { Express } from 'express';
import { type Hotpath, hotpath } from 'hotpath';
import serverless4 from 'serverless-http';
import serverless3 from 'serverless-http3';
import { afterEach, describe, expect, it } from 'vitest';
import { express4, express5, waitFor } from '../helpers/http.js';

/** The return value of a function on AWS Lambda, in all forms of the three events. */
interface Result {
  statusCode: number;
  headers?: Record<string, string>;
  multiValueHeaders?: Record<string, string[]>;
  body: string;
  isBase64Encoded: boolean;
}
type Handler = (event: object, context: object) => Promise<Result>;

/** Its types describe an ES module; Node gives the function. */
const codegenie = codegenieModule as unknown as (configuration: object) => Handler;
const isBinary = { binary: (headers: Record<string, unknown>) => headers['content-encoding'] !== undefined };
const adapters: [name: string, adapt: (app: Express) => Handler][] = [
  ['serverless-http 4', (app) => serverless4(app as never, isBinary) as unknown as Handler],
  ['serverless-http 3', (app) => serverless3(app, isBinary) as Handler],
  [
    '@codegenie/serverless-express',
    (app) =>
      codegenie({
        app,
        binarySettings: { contentEncodings: ['gzip', 'br'], contentTypes: [] },
      } as never) as never,
  ],
];

interface Sent {
  method?: string;
  path: string;
  headers: Record<string, string>;
  body?: string | null;
}

const lists = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));

const events: [name: string, event: (sent: Sent) => object][] = [
  [
    'API Gateway v1',
    ({ method = 'GET', path, headers, body = '' }) => ({
      resource: '/{proxy+}',
      httpMethod: method,
      path,
      headers,
      multiValueHeaders: lists(headers),
      queryStringParameters: null,
      multiValueQueryStringParameters: null,
      requestContext: { identity: { sourceIp: '192.0.2.1' }, requestId: 'r' },
      body,
      isBase64Encoded: false,
    }),
  ],
  [
    'API Gateway v2',
    ({ method = 'GET', path, headers, body = '' }) => ({
      version: '2.0',
      routeKey: '$default',
      rawPath: path,
      rawQueryString: '',
      headers,
      requestContext: { http: { method, path, sourceIp: '192.0.2.1' }, requestId: 'r' },
      body,
      isBase64Encoded: false,
    }),
  ],
  [
    'ALB',
    ({ method = 'GET', path, headers, body = '' }) => ({
      requestContext: { elb: { targetGroupArn: 'arn' }, identity: { sourceIp: '192.0.2.1' } },
      httpMethod: method,
      path,
      headers,
      queryStringParameters: {},
      body,
      isBase64Encoded: false,
    }),
  ],
];

const text = JSON.stringify({ text: 'é'.repeat(3000) });
const open: Hotpath[] = [];
afterEach(async () => {
  for (const perf of open.splice(0)) await perf.close();
});

function makeApp(express: typeof express5, isAttached: boolean) {
  let runs = 0;
  const perf = hotpath({
    metrics: { defaultMetrics: false },
    sizeLimit: { limit: 100 },
    routes: { '/items': { cache: { ttl: '1m', shared: true } }, '/streamed': { cache: { ttl: '1m' } } },
  });
  open.push(perf);
  const app = express();
  app.use(perf);
  if (isAttached) perf.attach(app);
  app.get('/items', (_req, res) => {
    runs++;
    res.set('X-Own', 'yes').type('json').send(text);
  });
  app.get('/streamed', async (_req, res) => {
    runs++;
    res.set('Cache-Control', 'public, max-age=60').type('text');
    for (let i = 0; i < 20; i++) {
      res.write('x'.repeat(5000));
      await new Promise(setImmediate);
    }
    res.end();
  });
  app.post('/items', express.json(), (req, res) => void res.json(req.body));
  return { app, perf, runs: () => runs };
}

/** A field of a result, from either of the places where events of one kind have it. */
function field({ headers = {}, multiValueHeaders = {} }: Result, name: string): string | undefined {
  const all = { ...lists(headers as Record<string, string>), ...multiValueHeaders };
  const found = Object.entries(all).find(([key]) => key.toLowerCase() === name);
  return found?.[1].join(', ');
}

function textOf({ body, isBase64Encoded }: Result, coding: string | undefined): string {
  const bytes = Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8');
  return (coding === 'gzip' ? gunzipSync(bytes) : bytes).toString();
}

const ways = [
  ['Express 5', express5, false],
  ['Express 5 with attach()', express5, true],
  ['Express 4', express4, false],
] as const;

describe.each(adapters)('%s', (_adapter, adapt) => {
  describe.each(events)('%s', (_event, eventOf) => {
    it.each(ways)(
      'gets hits with their header fields and their body, %s',
      async (_way, express, isAttached) => {
        const { app, perf, runs } = makeApp(express, isAttached);
        const handler = adapt(app);
        const ask = (headers: Record<string, string> = {}) =>
          handler(eventOf({ path: '/items', headers: { host: 'shop.test', ...headers } }), {});
        const miss = await ask();
        const hit = await ask();
        expect([miss, hit].map((result) => field(result, 'x-cache'))).toEqual(['MISS', 'HIT']);
        for (const name of [
          'content-type',
          'etag',
          'x-own',
          'x-powered-by',
          'content-length',
          'cache-control',
        ]) {
          expect([name, field(hit, name)]).toEqual([name, field(miss, name)]);
        }
        expect([hit.statusCode, textOf(hit, undefined), runs()]).toEqual([200, text, 1]);
        const coded = await ask({ 'accept-encoding': 'gzip' });
        await waitFor(() => perf.cache.stats().encodings.made === 1);
        const stored = await ask({ 'accept-encoding': 'gzip' });
        for (const result of [coded, stored]) {
          expect([field(result, 'content-encoding'), field(result, 'x-cache')]).toEqual(['gzip', 'HIT']);
          expect(textOf(result, 'gzip')).toBe(text);
        }
        const unchanged = await ask({ 'if-none-match': field(hit, 'etag')! });
        expect([unchanged.statusCode, unchanged.body, field(unchanged, 'x-cache')]).toEqual([304, '', 'HIT']);
      },
    );

    it('gets one streamed response for many requests', async () => {
      const { app, runs } = makeApp(express5, false);
      const handler = adapt(app);
      const ask = () => handler(eventOf({ path: '/streamed', headers: { host: 'shop.test' } }), {});
      const results = await Promise.all([ask(), ask(), ask()]);
      expect(results.map((result) => textOf(result, undefined).length)).toEqual(Array(3).fill(100_000));
      expect(runs()).toBe(1);
    });

    it('reads a body, and refuses one over the limit', async () => {
      const plain = express5();
      plain.post('/items', express5.json(), (req, res) => void res.json(req.body));
      const { app } = makeApp(express5, false);
      const post = (body: string, handler = adapt(app)) =>
        handler(
          eventOf({
            method: 'POST',
            path: '/items',
            headers: {
              host: 'shop.test',
              'content-type': 'application/json',
              'content-length': `${body.length}`,
            },
            body,
          }),
          {},
        );
      const [accepted, refused] = [await post('{"a":1}'), await post(JSON.stringify('x'.repeat(200)))];
      // serverless-http 3 sets `req.body` itself.
      const { statusCode, body } = await post('{"a":1}', adapt(plain));
      expect([accepted.statusCode, accepted.body]).toEqual([statusCode, body]);
      expect([refused.statusCode, field(refused, 'content-type')]).toEqual([413, 'application/problem+json']);
      expect(JSON.parse(refused.body)).toMatchObject({ status: 413, limit: 100 });
    });
  });
});
