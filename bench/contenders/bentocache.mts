// `bentocache` inside the handlers, which store the finished JSON, because that costs a handler least.
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import compression from 'compression';
import express from 'express';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const bento = new BentoCache({
  default: 'memory',
  // Stores serialised text, as hotpath does; by default each read would be a copy made by JSON.parse.
  stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 200_000, serialize: false })) },
});
const app = express();
app.use(compression());
const runs = addRoutes(app, {
  answer: async (req, res, load) => {
    const json = await bento.getOrSet({
      key: req.originalUrl,
      ttl: '1h',
      tags: [`item:${req.params.id}`],
      factory: () => JSON.stringify(load()),
    });
    res.type('json').send(json);
  },
});
serve(app, { runs, purge: (id) => bento.deleteByTag({ tags: [`item:${id}`] }) });
