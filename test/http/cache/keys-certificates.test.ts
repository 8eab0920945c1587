import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { Agent, createServer, type RequestOptions, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';
import { hotpath } from 'hotpath';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { certificates } from '../../helpers/certificates.js';
import { majors } from '../../helpers/http.js';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
  vi.restoreAllMocks();
});

type Client = keyof typeof certificates | undefined;

describe.each(majors)('client certificates (%s)', (_name, express) => {
  async function serve({ door = false, credentials }: { door?: boolean; credentials?: string[] } = {}) {
    const perf = hotpath({
      routes: { '/mail': { cache: { ttl: '1m', shared: door } } },
      cache: credentials ? { credentials } : {},
      metrics: { defaultMetrics: false },
    });
    const app = express();
    app.use(perf);
    if (door) perf.attach(app);
    let runs = 0;
    app.get('/mail', (req, res) => {
      runs++;
      const { subject } = (req.socket as TLSSocket).getPeerCertificate();
      res
        .set('Cache-Control', String(req.query.cc ?? 'max-age=60'))
        .send(`mail of ${subject?.CN ?? 'anonymous'}`);
    });
    const server = createServer(
      { ...certificates.server, requestCert: true, rejectUnauthorized: false },
      app as RequestListener,
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const agents = new Map<Client, Agent>();
    cleanUp.push(async () => {
      for (const agent of agents.values()) agent.destroy();
      server.close();
      server.closeAllConnections();
      await perf.close();
    });
    const get = async (client: Client, path = '/mail', headers: Record<string, string> = {}) => {
      const agent = agents.get(client) ?? new Agent({ keepAlive: true, maxSockets: 1 });
      agents.set(client, agent);
      const own = client && certificates[client];
      const options: RequestOptions = {
        host: '127.0.0.1',
        port,
        path,
        agent,
        headers,
        rejectUnauthorized: false,
      };
      const req = request({ ...options, ...own });
      req.end();
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      return { text: await text(res), status: res.headers['cache-status'] };
    };
    return { get, runs: () => runs, perf };
  }

  it.each([
    ['shut', false],
    ['open', true],
  ])(
    'serves no client the response for a certificate, with the front door %s [A03, K13]',
    async (_case, door) => {
      const { get, perf } = await serve({ door });
      for (let i = 0; i < 2; i++) {
        const alice = await get('alice');
        expect(alice).toMatchObject({ text: 'mail of alice' });
        expect(alice.status).toContain('detail=client-certificate');
        expect((await get('bob')).text).toBe('mail of bob');
        expect((await get(undefined)).text).toBe('mail of anonymous');
        expect((await get('alice')).text).toBe('mail of alice');
      }
      expect(perf.cache.stats().entries).toBe(1);
    },
  );

  it('counts a certificate that a proxy forwards as a credential, RFC 9440 [A03]', async () => {
    const { get, perf } = await serve();
    const forwarded = await get(undefined, '/mail', { 'client-cert': ':AA==:' });
    expect(forwarded.status).toContain('detail=client-certificate');
    expect(perf.cache.stats().entries).toBe(0);
  });

  it('ignores certificates for public responses, or if not listed as credentials [A02]', async () => {
    const { get, runs } = await serve();
    for (const client of ['alice', 'bob', undefined] as const)
      await get(client, '/mail?cc=public,max-age=60');
    expect(runs()).toBe(1);
    const other = await serve({ credentials: ['authorization', 'cookie'] });
    for (const client of ['alice', 'bob'] as const) await other.get(client);
    expect(other.runs()).toBe(1);
  });

  it('looks a certificate up once per connection [A03]', async () => {
    const { get } = await serve({ door: true });
    await get('alice', '/');
    await get(undefined, '/');
    const lookups = vi.spyOn(TLSSocket.prototype, 'getPeerCertificate');
    for (let i = 0; i < 3; i++) for (const client of ['alice', undefined] as const) await get(client, '/');
    expect(lookups).not.toHaveBeenCalled();
  });
});
