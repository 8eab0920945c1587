import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { configFromEnv } from 'hotpath';
import { shutdown } from 'hotpath/admin';
import { createApp, DASHBOARD_PATH, type ShopApp } from './app.js';
import { loadAssets } from './assets.js';
import { countedDatabase, type Database, type DatabaseConnection, openDatabase } from './database.js';
import { openJobEngine } from './jobs/engine.js';
import type { JobEngine } from './jobs/types.js';
import { shopConfig } from './policies.js';
import { type SeedStep, seedDatabase } from './seed.js';
import type { Settings } from './settings.js';
import { startingListener } from './starting.js';
import { registerWarming } from './warming.js';

export interface RunningShop {
  readonly url: string;
  /** `true`: PostgreSQL runs inside this process. */
  readonly embedded: boolean;
  /** Where other programs connect to the database. */
  readonly databaseUrl: string;
  /** A link that opens the dashboard, once; `undefined` with a password, and in production. */
  readonly dashboardLink: string | undefined;
  /** Resolves when the product lists are warm, or could not be warmed. */
  readonly warmed: Promise<unknown>;
  /** Lets requests in flight finish, then closes everything. Idempotent. */
  stop(): Promise<void>;
}

/** A connected PostgreSQL with the tables of the shop. */
export interface ShopDatabase {
  readonly db: Database;
  readonly pool: DatabaseConnection['pool'];
  readonly embedded: boolean;
  readonly url: string;
  close(): Promise<void>;
}

/** Opens the database, and seeds it if necessary. @param onStep called before each step of seeding. */
export async function openShopDatabase(
  settings: Settings,
  onStep?: (step: SeedStep) => void,
): Promise<ShopDatabase> {
  const { databaseUrl, poolSize, products, orderItems } = settings;
  const { pool, embedded, url, close } = await openDatabase({ url: databaseUrl, poolSize });
  try {
    await seedDatabase(pool, { products, orderItems }, onStep);
  } catch (error) {
    await close();
    throw error;
  }
  return { db: countedDatabase(pool), pool, embedded, url, close };
}

/** Options of `startShop` beside the settings. */
export interface StartOptions {
  /** Opens the database. Default: `openShopDatabase`. */
  open?: typeof openShopDatabase;
  /** Called before each step of a start that takes long. Default: none. */
  onStep?: (step: SeedStep) => void;
}

/**
 * Opens the database and serves the API. It listens first, so that a port in use is an error at once, and shows its
 * progress while the database is being filled.
 */
export async function startShop(
  settings: Settings,
  env: NodeJS.ProcessEnv = {},
  { open = openShopDatabase, onStep = () => {} }: StartOptions = {},
): Promise<RunningShop> {
  // Before anything is opened, so that an invalid environment fails at once.
  const config = configFromEnv(shopConfig, env);
  const assets = await loadAssets();
  let step: SeedStep = { name: 'connecting to the database', done: 0, of: 1 };
  let listener = startingListener(assets, () => step);
  const server = createServer((req, res) => listener(req, res));
  // A request must arrive completely within this time. Responses may take longer, as event streams and
  // downloads do.
  server.headersTimeout = 10_000;
  server.requestTimeout = 60_000;
  // Longer than the idle timeout of common load balancers, so that they close first.
  server.keepAliveTimeout = 65_000;
  let database: ShopDatabase | undefined;
  let jobs: JobEngine | undefined;
  try {
    server.listen(settings.port, settings.host);
    await once(server, 'listening');
    database = await open(settings, (next) => {
      step = next;
      onStep(next);
    });
    jobs = await openJobEngine(settings.jobs);
    const shop = await createApp({
      ...settings,
      db: database.db,
      pool: database.pool,
      embedded: database.embedded,
      jobs,
      config,
      assets,
    });
    listener = shop.listener;
    return runningShop(settings, server, shop, database);
  } catch (error) {
    server.close();
    server.closeAllConnections();
    await jobs?.close();
    await database?.close();
    throw error;
  }
}

/** The running shop, on a server that listens. */
function runningShop(settings: Settings, server: Server, shop: ShopApp, database: ShopDatabase): RunningShop {
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    // In production, load balancers need time to see that `/readyz` says 503.
    const unreadyFor = settings.demo ? 0 : '5s';
    const { perf, endStreams: onClosing } = shop;
    await shutdown(server, { unreadyFor, deadline: settings.demo ? '10s' : '25s', perf, onClosing });
    await shop.database?.close();
    await shop.jobs.close();
    await database.close();
  };
  const url = `http://localhost:${(server.address() as AddressInfo).port}`;
  registerWarming(shop.perf);
  const { warmOrigins } = settings;
  const warmed = shop.perf.warming.start({ origins: warmOrigins.length > 0 ? warmOrigins : [url] });
  return {
    url,
    warmed,
    embedded: database.embedded,
    databaseUrl: database.url,
    dashboardLink: shop.page.link(url + DASHBOARD_PATH),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}
