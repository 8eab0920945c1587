// `cacheable` inside the handlers, which store the finished JSON, because that costs a handler least.
import { Cacheable } from 'cacheable';
import compression from 'compression';
import express from 'express';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const cache = new Cacheable({ ttl: '1h' });
const app = express();
app.use(compression());
const runs = addRoutes(app, {
  answer: async (req, res, load) => {
    const json = await cache.getOrSet(req.originalUrl, async () => JSON.stringify(load()));
    res.type('json').send(json);
  },
});
serve(app, { runs, purge: (id) => cache.delete(`/item/${id}`) });
