// `ocache` around the handlers. It uses Request and Response; the conversion from and to Express is written
// here and does as little as possible.
import compression from 'compression';
import express, { type Request as ExpressRequest, type Response as ExpressResponse } from 'express';
import { defineCachedHandler } from 'ocache';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

interface Event {
  readonly req: Request;
  readonly load: () => unknown;
}

const cached = defineCachedHandler<Event>(
  ({ load }) => {
    const headers = { 'Content-Type': 'application/json; charset=utf-8' };
    return new Response(JSON.stringify(load()), { headers });
  },
  { maxAge: 3600, swr: false },
);

async function answer(req: ExpressRequest, res: ExpressResponse, load: () => unknown): Promise<void> {
  const headers: Record<string, string> = {};
  const condition = req.headers['if-none-match'];
  if (condition !== undefined) headers['If-None-Match'] = condition;
  const response = (await cached({
    req: new Request(`http://${req.headers.host}${req.url}`, { headers }),
    load,
  })) as Response;
  response.headers.forEach((value, name) => {
    res.setHeader(name, value);
  });
  const body = response.body === null ? undefined : Buffer.from(await response.arrayBuffer());
  if (body) res.setHeader('Content-Length', body.length);
  res.writeHead(response.status);
  res.end(body);
}

const app = express();
app.use(compression());
const runs = addRoutes(app, { answer });
serve(app, { runs });
