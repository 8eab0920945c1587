import { jobSettingsFromEnv } from './settings.js';
import { startWorker } from './start-worker.js';

// A process that runs jobs: `npm run start:worker`, as often and on as many machines as needed.
const settings = jobSettingsFromEnv(process.env);
const worker = await startWorker(settings).catch((error: Error) => {
  console.error(`The worker cannot start: ${error.message}`);
  process.exit(1);
});

const stop = () => {
  worker
    .stop()
    .catch((error: unknown) => {
      console.error('the worker did not close cleanly:', error);
      process.exitCode = 1;
    })
    // The channel to a parent would keep the process alive.
    .finally(() => process.connected && process.disconnect());
};
// A second signal has no listener and ends the process at once.
for (const reason of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.once(reason, stop);

console.log(
  `worker ${worker.id} runs up to ${settings.maxConcurrentJobs} jobs at a time, from ${worker.kind}`,
);
