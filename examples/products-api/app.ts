import type { RequestListener } from 'node:http';
import express, { type Express } from 'express';
import { rateLimit } from 'express-rate-limit';
import helmet from 'helmet';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import {
  basicAuth,
  type Dashboard,
  dashboard,
  health,
  type PerformanceApi,
  performanceApi,
} from 'hotpath/admin';
import { monitorPool, type PostgresDatabase, postgres } from 'hotpath/postgres';
import type pg from 'pg';
import { allowedHosts } from './allowed-hosts.js';
import { type Assets, assetRoutes, loadAssets } from './assets.js';
import type { Database } from './database.js';
import { ProgressStreams } from './jobs/progress-streams.js';
import { jobSettingsFromEnv } from './jobs/settings.js';
import { openThreadEngine } from './jobs/thread-engine.js';
import type { JobEngine } from './jobs/types.js';
import { ownAnswers, shopConfig, tableChanges } from './policies.js';
import { errorHandler, notFound, sendProblem } from './problems.js';
import { countQueries } from './query-count.js';
import { catalogueRoutes } from './routes/catalogue.js';
import { demoRoutes } from './routes/demo.js';
import { echoRoutes } from './routes/echo.js';
import { eventRoutes, type ShopEvents, shopEvents } from './routes/events.js';
import { forecastRoutes } from './routes/forecasts.js';
import { mistakeRoutes } from './routes/mistakes.js';
import { orderRoutes } from './routes/orders.js';
import { productRoutes } from './routes/products.js';
import { LOCAL_HOSTS, type Settings } from './settings.js';

export interface AppOptions
  extends Partial<Pick<Settings, 'rateLimit' | 'allowedHosts' | 'trustProxy' | 'demo' | 'adminPassword'>> {
  db: Database;
  /** The pool beneath `db`, which hotpath watches. Default: none. */
  pool?: pg.Pool | undefined;
  /** Whether PostgreSQL runs inside this process: only there may indexes be built for a trial. Default: `false`. */
  embedded?: boolean;
  /** Runs the forecasts. Default: threads of this process. */
  jobs?: JobEngine | undefined;
  /** hotpath's config. Default: that of the shop. */
  config?: HotpathConfig;
  /** Default: read from `public`. */
  assets?: Assets;
  /** Called with every error that became a 500. Default: the console. */
  report?: (error: unknown) => void;
}

export interface ShopApp {
  /** The listener for the HTTP server. */
  listener: RequestListener;
  app: Express;
  perf: Hotpath;
  /** Serves the figures at `PERFORMANCE_PATH`. */
  figures: PerformanceApi;
  /** Shows them at `DASHBOARD_PATH`. */
  page: Dashboard;
  /** Watches the database behind the pool; `undefined` without one. */
  database: PostgresDatabase | undefined;
  /** The caller closes it, after the server. */
  jobs: JobEngine;
  /** The clients that watch a forecast. */
  streams: ProgressStreams;
  /** Ends the open event streams, so that a server can close. */
  endStreams(): void;
}

/** Where the figures of hotpath are served. */
export const PERFORMANCE_PATH = '/api/v1/performance';

/** Where the dashboard is served. */
export const DASHBOARD_PATH = '/admin/performance';

/** The whole API with hotpath, and for the demonstration the same API without it. */
export async function createApp(options: AppOptions): Promise<ShopApp> {
  const events = shopEvents();
  const assets = options.assets ?? (await loadAssets());
  const perf = hotpath(options.config ?? shopConfig);
  const pool = options.pool && monitorPool(options.pool, { perf, slow: '50ms', explain: true });
  const demo = options.demo ?? true;
  // Indexes are built and tables analyzed on demand for the demonstration alone, on the embedded database after a trial.
  const indexes = { trialMaxBytes: options.embedded ? '1gb' : 0, apply: demo } as const;
  const database = pool && postgres(pool, { perf, indexes, maintenance: { analyze: demo } });
  await database?.purgeOnChange(tableChanges);
  const jobs = options.jobs ?? openThreadEngine(jobSettingsFromEnv({}));
  const { figures, page } = performanceOf(perf, database, jobs, options);
  const streams = new ProgressStreams(jobs);
  const shared = { options, events, assets, jobs, streams };
  const app = shop(shared, { perf, figures, page, database });
  const listener = demo ? withOrWithout(app, shop(shared)) : app;
  const endStreams = () => {
    events.emit('closing');
    streams.close();
    figures.close();
    page.close();
  };
  return { listener, app, perf, figures, page, database, jobs, streams, endStreams };
}

/** With a password it is open to the user `admin`; without one a link opens it, except in production. */
function performanceOf(
  perf: Hotpath,
  postgres: PostgresDatabase | undefined,
  engine: JobEngine,
  { adminPassword: admin }: AppOptions,
) {
  const authorize = admin === undefined ? undefined : basicAuth({ users: { admin }, realm: 'products-api' });
  const options = { perf, postgres, jobs: () => engine.figures(), authorize };
  return { figures: performanceApi(options), page: dashboard(options) };
}

/** The parts that the app with hotpath and the one without it share. */
interface SharedParts extends Pick<ShopApp, 'jobs' | 'streams'> {
  options: AppOptions;
  events: ShopEvents;
  assets: Assets;
}

/** One Express app. Two are made of the same parts, so that hotpath is their only difference. */
function shop(
  { options, events, assets, jobs, streams }: SharedParts,
  { perf, figures, page, database }: Partial<Pick<ShopApp, 'perf' | 'figures' | 'page' | 'database'>> = {},
): Express {
  const { db, report = console.error, trustProxy = 0, rateLimit: limit = 0, demo = true } = options;
  // A client that has written gets its response when reads show the write.
  const afterWrite = async () => void (await database?.flush());
  const app = express();
  app.disable('x-powered-by');
  app.set('trust proxy', trustProxy);

  // First, so that a hit costs none of the work below.
  if (perf) {
    app.use(perf);
    perf.attach(app);
  }
  // Before the check of hosts: a probe calls an instance by its address.
  const checks = {
    database: () => db.query('SELECT 1'),
    ...(perf && { redis: perf.cache.check, warming: perf.warming.check }),
  };
  app.use(health({ perf, checks, prefixes: ['', '/api'] }));
  app.use(allowedHosts(options.allowedHosts ?? LOCAL_HOSTS));
  app.use(securityHeaders());
  if (limit > 0) app.use(requestLimit(limit));
  // The parser accepts the bodies that hotpath accepts. Without hotpath it enforces the same limit.
  const limits = perf?.config.sizeLimit;
  app.use(express.json({ limit: limits ? limits.limit : '10mb' }));
  if (demo) app.use(countQueries);

  app.use(assetRoutes(assets));
  app.use('/api', productRoutes(db, events, afterWrite));
  app.use('/api', catalogueRoutes(db));
  app.use('/api', orderRoutes(db, perf ? [ownAnswers(perf)] : []));
  app.use('/api', eventRoutes(events));
  app.use('/api', forecastRoutes({ db, jobs, streams, perf }));
  app.use('/api', echoRoutes());
  app.use('/api', mistakeRoutes(db));
  if (perf && demo) app.use('/api', demoRoutes(perf, database));
  if (perf) app.get('/metrics', perf.metrics.handler);
  if (figures) app.use(PERFORMANCE_PATH, figures);
  if (page) app.use(DASHBOARD_PATH, page);

  app.use(notFound);
  app.use(errorHandler(report));
  return app;
}

function securityHeaders() {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'self'"],
        'base-uri': ["'none'"],
        'form-action': ["'none'"],
        'frame-ancestors': ["'none'"],
        'object-src': ["'none'"],
      },
    },
  });
}

/**
 * Limits the requests that reach the handlers. It sends no `RateLimit` headers, because they describe one
 * client's quota and a cached response would repeat them to others.
 */
function requestLimit(limit: number) {
  return rateLimit({
    windowMs: 60_000,
    limit,
    standardHeaders: false,
    legacyHeaders: false,
    handler: (_req, res, _next, { windowMs }) => {
      res.set('Retry-After', String(Math.ceil(windowMs / 1_000)));
      sendProblem(res, { status: 429, title: 'Too Many Requests' });
    },
  });
}

/**
 * For the demonstration: `?hotpath=off` routes a request to the app without hotpath. Writes to the catalogue
 * never go there, because the next read must show them.
 */
function withOrWithout(withHotpath: RequestListener, without: RequestListener): RequestListener {
  return (req, res) => {
    const [path = '', query = ''] = (req.url ?? '').split('?', 2);
    const off = query.split('&').includes('hotpath=off');
    if (off) {
      const rest = query.split('&').filter((part) => part !== 'hotpath=off');
      req.url = rest.length === 0 ? path : `${path}?${rest.join('&')}`;
    }
    const write = req.method !== 'GET' && req.method !== 'HEAD' && path.startsWith('/api/products');
    if (off && !write) without(req, res);
    else withHotpath(req, res);
  };
}
