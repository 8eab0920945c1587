import type { RequestListener } from 'node:http';
import { extname } from 'node:path';
import type { Assets } from './assets.js';
import type { SeedStep } from './seed.js';

const TYPES: Readonly<Record<string, string>> = { '.css': 'text/css', '.svg': 'image/svg+xml' };

/**
 * Responds while the database is being filled. `/` shows the progress, probes of liveness get a 200, and all else a 503,
 * so that load balancers wait.
 */
export function startingListener(assets: Assets, step: () => SeedStep): RequestListener {
  return (req, res) => {
    const { pathname } = new URL(req.url ?? '/', 'http://localhost');
    const file = assets.files.get(pathname.slice('/assets/'.length));
    res.setHeader('Content-Security-Policy', "default-src 'self'");
    if (file !== undefined && pathname.startsWith('/assets/')) {
      res.setHeader('Content-Type', TYPES[extname(pathname)] ?? 'text/javascript');
      res.end(file);
      return;
    }
    if (pathname === '/healthz' || pathname === '/api/healthz') {
      res.end('The process is alive, and starting.\n');
      return;
    }
    res.statusCode = 503;
    res.setHeader('Retry-After', '1');
    res.setHeader('Cache-Control', 'no-store');
    const { name, done, of } = step();
    if (pathname !== '/') {
      res.end(`The shop is starting: ${name}.\n`);
      return;
    }
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    const values: Readonly<Record<string, string>> = { step: name, done: String(done), of: String(of) };
    res.end(assets.starting.replace(/\{\{(\w+)\}\}/g, (_, place: string) => values[place] ?? ''));
  };
}
