import { startShop } from '../server.js';
import { settingsFromEnv } from '../settings.js';

// One of the two instances: its own process, with its own memory and its own connections to Redis and PostgreSQL.
const shop = await startShop(settingsFromEnv(process.env), process.env);
await shop.warmed;
process.send?.({ url: shop.url });

const stop = () => {
  shop
    .stop()
    .catch((error: unknown) => {
      console.error('an instance did not close cleanly:', error);
      process.exitCode = 1;
    })
    // The channel to the parent would keep the process alive.
    .finally(() => process.connected && process.disconnect());
};
for (const reason of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.once(reason, stop);
