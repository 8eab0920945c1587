import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HotpathConfig } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { head, type SiteOptions, site } from '../../front/helper.js';
import { majors } from '../../helpers/http.js';

type Request = IncomingMessage;
type Next = () => void;

/** Sets the header that tells the handler who asks, whatever the client has sent in it. */
function gateway(req: Request, _res: ServerResponse, next: Next): void {
  const { 'x-session': session } = req.headers;
  delete req.headers['x-user-id'];
  if (session !== undefined) req.headers['x-user-id'] = String(session);
  next();
}

const mail: SiteOptions['routes'] = (app, count) =>
  app.get('/mail', (req, res) => {
    count();
    res.set('Cache-Control', 'public, max-age=60').set('Vary', 'X-User-Id');
    res.send(`mail of ${req.headers['x-user-id'] ?? 'nobody'}`);
  });
const mailByRule: SiteOptions['routes'] = (app, count) =>
  app.get('/mail', (req, res) => {
    count();
    res.send(`mail of ${req.headers['x-user-id'] ?? 'nobody'}`);
  });
const keyed: HotpathConfig = {
  routes: { '/mail': { cache: { ttl: 60, shared: true, vary: { headers: ['x-user-id'] } } } },
};

const places: [where: string, before: SiteOptions['before']][] = [
  ['before hotpath', (app) => void app.use(gateway)],
  ['at a path', (app) => void app.use('/mail', gateway)],
  [
    'before hotpath, in an object of its own',
    (app) =>
      void app.use((req: Request, res: ServerResponse, next: Next) => {
        req.headers = { ...req.headers };
        gateway(req, res, next);
      }),
  ],
  [
    'later than hotpath asks for',
    (app) => void app.use((req, res, next) => setImmediate(gateway, req, res, next)),
  ],
];

describe.each(majors)('the front door of %s behind which headers are changed', (_, express) => {
  beforeEach(() => void vi.spyOn(process, 'emitWarning').mockImplementation(() => {}));
  afterEach(() => vi.restoreAllMocks());

  describe.each([
    ['Vary', {}, mail],
    ['vary.headers', keyed, mailByRule],
  ])('with %s', (_how, config, routes) => {
    it.each(places)('serves no variant of a header that is set %s [A04]', async (_where, before) => {
      const made = await site({ express, way: 'door', config, before, routes });
      const ask = async (fields: Record<string, string>) => (await made.ask(head('/mail', fields))).text;
      for (let i = 0; i < 2; i++) {
        expect(await ask({})).toBe('mail of nobody');
        expect(await ask({ 'X-Session': 'ann' })).toBe('mail of ann');
        expect(await ask({ 'X-User-Id': 'ann' })).toBe('mail of nobody');
        expect(await ask({ 'X-User-Id': 'bob', 'X-Session': 'ann' })).toBe('mail of ann');
      }
      expect([made.runs(), made.perf.cache.stats().frontDoor.hits]).toEqual([2, 0]);
      const codes = vi
        .mocked(process.emitWarning)
        .mock.calls.map(([, options]) => (options as { code?: string }).code);
      expect(codes.filter((code) => code === 'HOTPATH_NOT_FIRST')).toHaveLength(1);
    });
  });

  it('serves variants where hotpath is mounted first, and all else in any case', async () => {
    const routes: SiteOptions['routes'] = (app, count) => {
      mail(app, count);
      app.get('/plain', (_req, res) => void res.set('Cache-Control', 'public, max-age=60').send('plain'));
    };
    for (const [before, expected] of [
      [undefined, 2],
      [places[0]![1], 1],
    ] as const) {
      const made = await site({ express, way: 'door', before, routes });
      for (const target of ['/mail', '/mail', '/plain', '/plain']) await made.ask(head(target));
      expect(made.perf.cache.stats().frontDoor.hits).toBe(expected);
    }
  });
});
