import { describe, expect, it } from 'vitest';
import { compileRoutes } from '../../../src/options/route-table.js';
import { express4, express5, listen } from '../../helpers/http.js';
import { expectLinear } from '../../helpers/linear.js';

describe('compileRoutes', () => {
  it('returns the first match in the order written', () => {
    const table = compileRoutes({ '/a/special': 1, '/a/:id': 2, '/a/*rest': 3 });
    expect(table.size).toBe(3);
    expect(table.match('/a/special')).toMatchObject({ pattern: '/a/special', policy: 1 });
    expect(table.match('/a/7')).toMatchObject({ pattern: '/a/:id', policy: 2, params: { id: '7' } });
    expect(table.match('/a/7/b')).toMatchObject({ policy: 3, params: { rest: ['7', 'b'] } });
    expect(table.match('/b')).toBeUndefined();
    expect(compileRoutes({ '/a/:id': 2, '/a/special': 1 }).match('/a/special')?.policy).toBe(2);
  });

  it('ignores case and a trailing slash in path and pattern, like Express by default', () => {
    const table = compileRoutes({ '/Api/Products': 1, '/b/': 2, '/': 3 });
    expect(table.match('/api/products/')?.policy).toBe(1);
    expect(table.match('/b')?.policy).toBe(2);
    expect(table.match('/b/')?.policy).toBe(2);
    expect(table.match('/')?.policy).toBe(3);
    expect(table.match('/b//')).toBeUndefined();
  });

  it('decodes parameters, into an object without prototype', () => {
    const params = compileRoutes({ '/p/:__proto__/:toString': 1 }).match('/p/caf%C3%A9/a%2Fb')?.params;
    expect(Object.getPrototypeOf(params)).toBeNull();
    expect(Object.entries(params ?? {})).toEqual([
      ['__proto__', 'café'],
      ['toString', 'a/b'],
    ]);
    expect(compileRoutes({ '/a/:id': 1 }).match('/a/1')?.params.constructor).toBeUndefined();
  });

  it.each(['/p/%', '/p/%zz', '/p/%c3', '/p/%E0%A4%A', '/p/a/%ff'])(
    'matches the malformed path %s, which Express routes to a handler without parameters [F01]',
    (path) => {
      const found = compileRoutes({ '/q': 0, '/p/*rest': 1, '/*all': 2 }).match(path);
      expect(found?.policy).toBe(1);
      const segments = path.split('/').slice(2);
      expect(found?.params).toEqual(Object.assign(Object.create(null), { rest: segments }));
    },
  );

  it('names every bad pattern, with its place and the accepted syntax', () => {
    expect(() =>
      compileRoutes({ '/assets/*': 1, '/a(b)': 1, '/ok': 1, 'no-slash': 1, '/x?': 1 }, 'x.routes'),
    ).toThrow(
      /4 problems[\s\S]*x\.routes\['\/assets\/\*'\]: expected a path in Express 5 syntax.*'\/assets\/\*path'[\s\S]*'\/a\(b\)'[\s\S]*no-slash[\s\S]*'\/x\?'/,
    );
  });

  it('matches long paths against hard patterns in linear time [K08]', () => {
    const table = compileRoutes({ '/a/*x/b/*y/c': 1, '/:a-:b-:c': 2, '/{:x/}{:y/}z': 3 });
    expectLinear(
      (path) => table.match(path),
      (length) => `/a${'/b-'.repeat(length / 3)}`,
    );
  });

  it('agrees with Express 5 on which paths match', async () => {
    const patterns = ['/', '/products/:id', '/assets/*path', '/docs{/:page}', '/files/:name.:ext'];
    const paths = [
      '/',
      '/products/1',
      '/PRODUCTS/1/',
      '/products',
      '/products/1/2',
      '/assets',
      '/assets/',
      '/assets/a/b.css',
      '/docs',
      '/docs/intro/',
      '/files/a.b',
      '/files/a',
      '/products/a%20b',
    ];
    const app = express5();
    for (const pattern of patterns)
      app.get(pattern, (req, res) => void res.json({ pattern, params: req.params }));
    const table = compileRoutes(Object.fromEntries(patterns.map((pattern) => [pattern, true])));
    const { url: origin, close } = await listen(app);
    try {
      for (const path of paths) {
        const response = await fetch(origin + path);
        const match = table.match(path);
        if (response.status === 404) expect(match, path).toBeUndefined();
        else
          expect({ pattern: match?.pattern, params: { ...match?.params } }, path).toEqual(
            await response.json(),
          );
      }
    } finally {
      await close();
    }
  });

  it('matches the path of a request on Express 4 too, in the same syntax', async () => {
    const table = compileRoutes({ '/assets/*path': true });
    const app = express4();
    app.use((req, res) => void res.json(table.match(req.path)?.params ?? null));
    const { url: origin, close } = await listen(app);
    try {
      expect(await (await fetch(`${origin}/assets/a/b%20c?q=1`)).json()).toEqual({ path: ['a', 'b c'] });
      expect(await (await fetch(`${origin}/assets`)).json()).toBeNull();
    } finally {
      await close();
    }
  });
});
