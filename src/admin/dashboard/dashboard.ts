import type { IncomingMessage, ServerResponse } from 'node:http';
import { Gate, lastSegment, redirect } from '../access/gate.js';
import { type PerformanceApiOptions, resolvePerformanceApi } from '../options.js';
import { createApi, respondProtected, splitAtQuery } from '../performance-api/performance-api.js';
import { type ProblemStatus, respondWith, respondWithProblem } from '../respond.js';
import { type PageAssets, preparePage, sendFile } from './assets.js';

/** Options of `dashboard`: those of the performance API, which the page reads. */
export interface DashboardOptions extends PerformanceApiOptions {}

/** The dashboard: a handler to mount with `app.use(path, handler)`. */
export interface Dashboard {
  (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void): void;
  /**
   * A link with a new key, which works once: print it at the app's start. `undefined` if `authorize` is set, or if
   * `NODE_ENV` is `production`.
   *
   * @param url where the dashboard is mounted, such as `http://localhost:3000/admin/performance`.
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` unless it is a full URL.
   */
  link(url: string): string | undefined;
  /** Ends the event streams of its performance API. Idempotent. `shutdown()` and `perf.close()` do it too. */
  close(): void;
}

/** The page loads nothing of other origins, no inline script and no inline style, and no page frames it. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

/**
 * Serves a page with the figures of an instance: `app.use('/admin/performance', dashboard({ perf, authorize }))`. A
 * performance API of its own is beneath it, at `./api/`, with the same access rules. Without `authorize` nothing is
 * served if `NODE_ENV` is `production`, and otherwise a key is needed (see `link`).
 *
 * It works behind any mount path and prefix, offline, and under `default-src 'self'`. Its requests are in no series.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function dashboard(options: DashboardOptions): Dashboard {
  const settings = resolvePerformanceApi(options, 'dashboard');
  const gate = new Gate(settings.authorize, 'dashboard');
  const api = createApi(settings, gate, false);
  const page = new Page(gate);
  function dashboardHandler(req: IncomingMessage, res: ServerResponse): void {
    const target = req.url ?? '/';
    const [path] = splitAtQuery(target);
    if (path === '/api' || path.startsWith('/api/')) api.respond(req, res, target.slice('/api'.length));
    else respondProtected(req, res, () => page.respond(req, res, target));
  }
  return Object.assign(dashboardHandler, {
    link: (url: string) => gate.link(url),
    close: () => api.close(),
  });
}

/** The page and its files. */
class Page {
  readonly #gate: Gate;
  /** Loaded for the first request, so that importing the package and creating the dashboard cost nothing. */
  #assets: Promise<PageAssets> | undefined;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** @param target path and query below the mount. */
  async respond(req: IncomingMessage, res: ServerResponse, target: string): Promise<void> {
    const [path, search] = splitAtQuery(target);
    const isRoot = path === '/' || path === '';
    const isAdmitted = await this.#gate.admit({
      req,
      res,
      query: new URLSearchParams(search),
      action: 'read',
      isPage: isRoot,
      isRoot,
      ...(isRoot && { refuse: (status, detail) => refuseWithPage(req, res, status, detail) }),
    });
    if (!isAdmitted) return;
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('Allow', 'GET, HEAD');
      return respondWithProblem(req, res, 405, 'The page has no such method.');
    }
    if (isRoot) return this.#sendPage(req, res, search);
    const { files } = await this.#load();
    const file = path.startsWith('/assets/') ? files.get(path.slice('/assets/'.length)) : undefined;
    if (!file) return respondWithProblem(req, res, 404, 'There is no such page.');
    // The name changes with the content.
    res.setHeader('Cache-Control', 'private, max-age=31536000, immutable');
    sendFile(req, res, file);
  }

  async #sendPage(req: IncomingMessage, res: ServerResponse, search: string): Promise<void> {
    const last = lastSegment(req);
    // Relative addresses in the page need the final slash.
    if (last !== '') return redirect({ req, res }, `./${last}/${search && `?${search}`}`);
    const { page } = await this.#load();
    res.setHeader('Content-Security-Policy', PAGE_POLICY);
    sendFile(req, res, page);
  }

  #load(): Promise<PageAssets> {
    this.#assets ??= import('./page-files.js')
      .then(({ loadPageFiles }) => loadPageFiles())
      .then((files) => preparePage(files, this.#gate.permitsChanges));
    return this.#assets;
  }
}

/** For people: the detail of a problem as a page without styles. @param detail a text of ours, without markup. */
function refuseWithPage(
  req: IncomingMessage,
  res: ServerResponse,
  status: ProblemStatus,
  detail: string,
): void {
  const page =
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">' +
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>hotpath dashboard</title>' +
    `<h1>The dashboard is locked</h1><p>${detail.replace(/`([^`]*)`/g, '<code>$1</code>')}</p></html>`;
  respondWith(req, res, status, 'text/html; charset=utf-8', page);
}
