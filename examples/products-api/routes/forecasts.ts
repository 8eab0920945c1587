import { type Request, type Response, Router } from 'express';
import { currentRun, type Hotpath } from 'hotpath';
import type { Database } from '../database.js';
import { type ForecastInput, prepareForecast, readForecastRequest } from '../jobs/forecast.js';
import { isFinal, type ProgressStreams } from '../jobs/progress-streams.js';
import { type JobEngine, type JobStatus, JobsUnavailable } from '../jobs/types.js';
import { functionPolicies } from '../policies.js';
import { Problem } from '../problems.js';

export interface ForecastParts {
  db: Database;
  jobs: JobEngine;
  streams: ProgressStreams;
  /** Absent in the app without hotpath, which computes each forecast. */
  perf?: Hotpath | undefined;
}

/** Seconds after which a client may look again. */
const LOOK_AGAIN = '1';

/** Forecasts of a product's sales, which take too long for a request. */
export function forecastRoutes({ db, jobs, streams, perf }: ForecastParts): Router {
  const router = Router();
  const load = async (_input: ForecastInput, id: string) => {
    const result = await available(jobs.result(id));
    if (!result) currentRun().skip();
    return result && { forecast: id, ...result };
  };
  const forecast = perf?.cache.cached(load, functionPolicies.cachedForecast);

  router.post('/forecasts', async (req, res) => {
    const { input, priority } = readForecastRequest(req.body);
    // A client that wants a new forecast says so, as it would to a cache.
    const known = /\bno-cache\b/i.test(req.get('cache-control') ?? '')
      ? undefined
      : await forecast?.peek(input, '');
    if (known) {
      res.set('Content-Location', `${pathOf(known.forecast)}/result`).json(known);
      return;
    }
    const status = await available(jobs.submit(await prepareForecast(db, input), priority));
    res.status(202).location(pathOf(status.id)).set('Retry-After', LOOK_AGAIN).json(shown(status));
  });

  router.get('/forecasts/:id', async (req, res) => {
    const status = await find(jobs, req.params.id);
    res.set('Cache-Control', 'no-store');
    if (!isFinal(status)) res.set('Retry-After', LOOK_AGAIN);
    res.json(shown(status));
  });

  router.get('/forecasts/:id/events', async (req, res) => {
    const status = await find(jobs, req.params.id);
    if (res.destroyed || streams.open(req, res, status)) return;
    throw new Problem(
      503,
      'Service Unavailable',
      'There are too many event streams, or the server shuts down.',
    );
  });

  router.get('/forecasts/:id/result', async (req: Request<{ id: string }>, res: Response) => {
    const { id, state, input } = await find(jobs, req.params.id);
    if (state !== 'done') {
      if (state === 'waiting' || state === 'running') res.set('Retry-After', LOOK_AGAIN);
      throw new Problem(409, 'Conflict', `There is no result: the forecast is ${state}.`);
    }
    let result = await (forecast ?? load)(input, id);
    // An older one of the same input is not what this client wanted.
    if (forecast && result && result.forecast !== id) result = await forecast.refresh(input, id);
    if (!result) throw new Problem(404, 'Not Found', 'The result is not kept any more.');
    res.json(result);
  });

  router.delete('/forecasts/:id', async (req, res) => {
    await find(jobs, req.params.id);
    const status = await available(jobs.cancel(req.params.id));
    if (status?.state !== 'cancelled')
      throw new Problem(
        409,
        'Conflict',
        `The forecast cannot be cancelled: it is ${status?.state ?? 'gone'}.`,
      );
    res.json(shown(status));
  });

  return router;
}

async function find(jobs: JobEngine, id: string): Promise<JobStatus> {
  const isId = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(id);
  const status = isId ? await available(jobs.status(id)) : undefined;
  if (!status) throw new Problem(404, 'Not Found', 'There is no such forecast.');
  return status;
}

/** A queue that is full or away becomes a 503. */
async function available<T>(result: Promise<T>): Promise<T> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof JobsUnavailable) throw new Problem(503, 'Service Unavailable', error.message);
    throw error;
  }
}

function pathOf(id: string): string {
  return `/api/forecasts/${id}`;
}

/** A status with the addresses that belong to it. */
function shown(status: JobStatus): object {
  const self = pathOf(status.id);
  return {
    ...status,
    links: {
      self,
      events: `${self}/events`,
      ...(status.state === 'done' && { result: `${self}/result` }),
    },
  };
}
