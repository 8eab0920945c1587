import { printStep } from './seed.js';
import { startShop } from './server.js';
import { settingsFromEnv } from './settings.js';

const began = performance.now();
const settings = settingsFromEnv(process.env);
const shop = await startShop(settings, process.env, { onStep: printStep }).catch((error: unknown) => {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
  const { port } = settings;
  console.error(`Port ${port} is in use by another program. Choose another: PORT=${port + 1} npm start`);
  process.exit(1);
});
let isStopping = false;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // A second signal has no listener and ends the process at once.
  process.once(signal, () => {
    isStopping = true;
    shop.stop().catch((error: unknown) => {
      console.error('the shop did not close cleanly:', error);
      process.exitCode = 1;
    });
  });
}

// It listens already. From the first client on, the product lists come from the cache.
await shop.warmed;
const seconds = ((performance.now() - began) / 1_000).toFixed(1);
const database = shop.embedded ? 'embedded PostgreSQL' : 'PostgreSQL at DATABASE_URL';
if (!isStopping) {
  if (shop.embedded) console.log(`the database, for other programs: psql ${shop.databaseUrl}`);
  console.log(`products-api with ${database}, ready in ${seconds} s: ${shop.url}`);
  if (shop.dashboardLink) console.log(`its dashboard, by a link that works once: ${shop.dashboardLink}`);
}
