import type { JobSettings } from './settings.js';
import { openThreadEngine } from './thread-engine.js';
import type { JobEngine } from './types.js';

/** The engine for the settings: Redis, else PostgreSQL, else threads of this process. */
export async function openJobEngine(settings: JobSettings): Promise<JobEngine> {
  if (settings.redisUrl === undefined && settings.databaseUrl === undefined)
    return openThreadEngine(settings);
  // Loaded here: bullmq takes half a second, which a start without servers need not wait for.
  const { openQueueEngine } = await import('./queue-engine.js');
  return openQueueEngine(settings);
}
