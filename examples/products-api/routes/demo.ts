import { Router } from 'express';
import type { Hotpath } from 'hotpath';
import { monitorOf, type PostgresDatabase } from 'hotpath/postgres';
import { invalid } from '../input.js';
import { Problem } from '../problems.js';

/**
 * For the demonstration. `POST /demo/cold` purges one URL of the API, so that the page can show the first request.
 * `GET /demo/database` and `/demo/indexes` show everyone a part of the performance API, which is for operators alone.
 * `POST /demo/indexes` builds an advised index, and `GET /demo/builds` shows its progress.
 * `POST /demo/price` changes a price as another program would: by SQL alone.
 *
 * @param database `undefined`: no pool is watched.
 */
export function demoRoutes(perf: Hotpath, database: PostgresDatabase | undefined): Router {
  const router = Router();

  router.get('/demo/database', (_req, res) => {
    const monitor = database && monitorOf(database.pool);
    if (!monitor) throw new Problem(404, 'Not Found', 'No pool is watched here.');
    const { statements, nPlusOne, slowQueries } = monitor.figures();
    res.set('Cache-Control', 'no-store').json({ statements, nPlusOne, slowQueries });
  });

  const watched = () => {
    if (!database) throw new Problem(404, 'Not Found', 'No pool is watched here.');
    return database;
  };

  router.get('/demo/indexes', async (_req, res) => {
    const { missing, level } = await watched().indexes();
    res.set('Cache-Control', 'no-store').json({ missing, level });
  });

  router.post('/demo/indexes', async (req, res) => {
    const { id } = (req.body ?? {}) as { id?: unknown };
    if (typeof id !== 'string' || !/^[0-9a-f]{16}$/.test(id))
      throw invalid('Send the id of an advice as id.');
    const [refusal] = await watched().buildIndexes([id]);
    if (refusal) throw new Problem(409, 'Conflict', `${refusal.reason}: ${refusal.detail}`);
    res.status(202).json({ id });
  });

  router.get('/demo/builds', async (_req, res) => {
    res.set('Cache-Control', 'no-store').json({ builds: await watched().indexBuilds() });
  });

  router.post('/demo/price', async (req, res) => {
    const { id, priceCents } = (req.body ?? {}) as { id?: unknown; priceCents?: unknown };
    if (![id, priceCents].every((each) => Number.isInteger(each) && (each as number) > 0))
      throw invalid('Send id and priceCents.');
    // Nothing tells the cache: it follows the table.
    await watched().pool.query('UPDATE hotpath_shop.products SET price_cents = $2 WHERE id = $1', [
      id,
      priceCents,
    ]);
    res.sendStatus(204);
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
