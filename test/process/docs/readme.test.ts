import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestHandler } from 'express';
import { hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { examplesOf, fragmentsOf, runExample } from '../../docs/examples.js';
import { type express5, majors } from '../../helpers/http.js';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'README.md'), 'utf8');

/**
 * Runs the code under a heading of the README, and then the exchanges.
 *
 * @param more code after that of the README.
 */
async function runSection(
  heading: string,
  express: typeof express5,
  given: Readonly<Record<string, unknown>>,
  exchanges: readonly string[],
  more = '',
): Promise<void> {
  const code = fragmentsOf(page).find(({ name }) => name === heading)?.code;
  if (code === undefined) throw new Error(`README has no code under "${heading}"`);
  const blocks = exchanges.map((each) => `\`\`\`http\n${each}\n\`\`\`\n`);
  const [example] = examplesOf(`# ${heading}\n\`\`\`ts example\n${code}${more}\`\`\`\n${blocks.join('')}`);
  await runExample(example!, express, given);
}

const request = (line: string, ...headers: string[]) => [`${line} HTTP/1.1`, ...headers].join('\n');
const response = (...headers: string[]) => ['HTTP/1.1 200 OK', ...headers].join('\n');
const exchange = (asked: string, answered: string) => `${asked}\n\n${answered}`;

describe.each(majors)('the recipes of README, on %s', (_name, express) => {
  it('quick start: stores the products for an hour', async () => {
    const products = request('GET /api/products');
    await runSection('Quick start', express, { loadProducts: async () => ['tea'] }, [
      exchange(products, response('Cache-Status: hotpath; fwd=uri-miss; stored; ttl=3600')),
      exchange(products, response('X-Cache: HIT')),
    ]);
  });

  it('public pages: serves one stored page to clients with and without cookies', async () => {
    const renderPost = async (slug: string) => `post ${slug}`;
    await runSection('Public pages in an app with sessions', express, { renderPost }, [
      exchange(request('GET /blog/tea', 'Cookie: connect.sid=1'), response('X-Cache: MISS')),
      exchange(request('GET /blog/tea', 'Cookie: connect.sid=2'), response('X-Cache: HIT')),
      exchange(request('GET /blog/tea'), response('X-Cache: HIT')),
    ]);
  });

  it('routes per user: keeps an entry for each user', async () => {
    const app = express();
    const perf = hotpath();
    app.use(perf);
    const authenticate: RequestHandler = (req, _res, next) => {
      Object.assign(req, { user: { id: req.headers.authorization } });
      next();
    };
    const ordersOf = async (user: { id: string }) => `orders of ${user.id}`;
    const as = (user: string) => request('GET /api/me/orders', `Authorization: ${user}`);
    await runSection('Routes per user', express, { app, perf, authenticate, ordersOf }, [
      exchange(as('ann'), `${response('X-Cache: MISS')}\n\n"orders of ann"`),
      exchange(as('ben'), `${response('X-Cache: MISS')}\n\n"orders of ben"`),
      exchange(as('ann'), `${response('X-Cache: HIT')}\n\n"orders of ann"`),
    ]);
  });

  it('invalidation: purges the list and the item before the response to the write ends', async () => {
    const app = express();
    const prices = { '7': 1 };
    const updateProduct = async (id: '7') => ++prices[id];
    const read = (path: string, result: string, price: number) =>
      exchange(request(`GET ${path}`), `${response(`X-Cache: ${result}`)}\n\n${price}`);
    const handlers =
      "app.get(['/api/products', '/api/products/:id'], (req, res) => res.json(prices['7']));\n";
    await runSection(
      'Invalidation after writes',
      express,
      { app, hotpath, updateProduct, prices },
      [
        read('/api/products', 'MISS', 1),
        read('/api/products/7', 'MISS', 1),
        read('/api/products/7', 'HIT', 1),
        exchange(request('PATCH /api/products/7'), `${response()}\n\n2`),
        read('/api/products', 'MISS', 2),
        read('/api/products/7', 'MISS', 2),
      ],
      handlers,
    );
  });
});

describe('README', () => {
  it('names metrics, labels and statistics that exist', async () => {
    const perf = hotpath();
    try {
      const names = [...page.matchAll(/hotpath_cache_\w+/g)].map(([name]) => name);
      expect(names.length).toBeGreaterThan(2);
      for (const name of names) expect(perf.metrics.registry!.getSingleMetric(name), name).toBeDefined();
      expect(perf.cache.stats()).toMatchObject({ hits: 0, misses: 0, bypasses: {}, refusals: {} });
    } finally {
      await perf.close();
    }
  });

  it('counts the rows of docs/security.md', () => {
    const rows = readFileSync(join(root, 'docs/security.md'), 'utf8').match(/^\| [A-K]\d\d \|/gm);
    expect(page).toContain(`${rows!.length} threats and faults`);
  });

  it('is short', () => {
    expect(page.split('\n').length).toBeLessThan(175);
  });
});
