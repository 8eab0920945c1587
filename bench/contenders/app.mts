// The app of all contenders on Express. They differ only in the middlewares before its handlers.
import type { Express, Request, RequestHandler, Response } from 'express';
import { productsOf, SIZES } from './bodies.mjs';
import { settings } from './settings.mjs';

export interface Routes {
  /** Middlewares before the cacheable routes, but not before `/private`, where an app would have no cache. */
  readonly before?: readonly RequestHandler[];
  /** How a cacheable handler responds. Default: `res.json` of the data. */
  readonly answer?: (req: Request, res: Response, load: () => unknown) => unknown;
}

/** Adds the routes. Returns a function that counts how often their handlers loaded data. */
export function addRoutes(app: Express, { before = [], answer = answerJson }: Routes = {}): () => number {
  let runs = 0;
  const data = new Map(Object.entries(SIZES).map(([name, bytes]) => [name, productsOf(bytes)]));
  const small = productsOf(900);
  const load = (value: unknown) => () => {
    runs++;
    return value;
  };
  const allow = (res: Response) => {
    if (settings.isOrigin) res.setHeader('Cache-Control', 'public, max-age=3600');
  };
  app.get('/hit/:size', ...before, (req, res) => {
    allow(res);
    return answer(req, res, load(data.get(req.params.size as string)));
  });
  app.get('/item/:id', ...before, (req, res) => {
    allow(res);
    return answer(req, res, load({ item: req.params.id, related: small }));
  });
  app.get('/miss/:id', ...before, (req, res) => {
    allow(res);
    return answer(req, res, load(data.get('10kb')));
  });
  app.get('/stale/:id', ...before, (req, res) => {
    allow(res);
    return answer(req, res, load(data.get('10kb')));
  });
  app.get('/private', (req, res) => {
    res.setHeader('Cache-Control', 'private, no-store');
    return answerJson(req, res, load(data.get('10kb')));
  });
  app.get('/streamed', (_req, res) => {
    res.setHeader('Cache-Control', 'private, no-store');
    writeInPieces(res.type('json'), JSON.stringify(load(data.get('10kb'))()));
  });
  return () => runs;
}

/** As a page that is rendered on the server: each piece comes in a turn of its own, without a pause. */
function writeInPieces(res: Response, text: string): void {
  const length = 512;
  let at = 0;
  const next = () => {
    const piece = text.slice(at, (at += length));
    if (at >= text.length) res.end(piece);
    else {
      res.write(piece);
      setImmediate(next);
    }
  };
  next();
}

function answerJson(_req: Request, res: Response, load: () => unknown): void {
  res.json(load());
}
