import { Router } from 'express';
import type { Hotpath } from 'hotpath';
import { invalid } from '../input.js';

/** `POST /demo/cold` purges one URL of the API, so that the page can show the first request. For the demonstration. */
export function demoRoutes(perf: Hotpath): Router {
  const router = Router();

  router.post('/demo/cold', async (req, res) => {
    const { url } = (req.body ?? {}) as { url?: unknown };
    if (typeof url !== 'string' || !url.startsWith('/api/'))
      throw invalid('Send the path of the API as url.');
    await perf.cache.purge({ url });
    res.sendStatus(204);
  });

  return router;
}
