import { Router } from 'express';
import type { Hotpath } from 'hotpath';
import { monitorOf } from 'hotpath/postgres';
import { invalid } from '../input.js';
import { Problem } from '../problems.js';

/**
 * For the demonstration. `POST /demo/cold` purges one URL of the API, so that the page can show the first request.
 * `GET /demo/database` shows everyone some figures of the performance API, which is for operators alone.
 *
 * @param pool that hotpath watches; `undefined`: there is none.
 */
export function demoRoutes(perf: Hotpath, pool: object | undefined): Router {
  const router = Router();

  router.get('/demo/database', (_req, res) => {
    const monitor = pool && monitorOf(pool);
    if (!monitor) throw new Problem(404, 'Not Found', 'No pool is watched here.');
    const { statements, nPlusOne, slowQueries } = monitor.figures();
    res.set('Cache-Control', 'no-store').json({ statements, nPlusOne, slowQueries });
  });

  router.post('/demo/cold', async (req, res) => {
    const { url } = (req.body ?? {}) as { url?: unknown };
    if (typeof url !== 'string' || !url.startsWith('/api/'))
      throw invalid('Send the path of the API as url.');
    await perf.cache.purge({ url });
    res.sendStatus(204);
  });

  return router;
}
