import type { CacheState } from '../cache/state.js';
import type { CacheControlEditor } from '../middleware/cache-control/middleware.js';
import type { CompressionEditor } from '../middleware/compression/middleware.js';
import type { MetricsEditor } from '../middleware/metrics/middleware.js';
import type { RequestLogMiddleware } from '../middleware/request-log/middleware.js';
import type { TimingEditor } from '../middleware/timing/middleware.js';
import type { RequestWatch } from '../telemetry/request-watch.js';
import type { FastLookup } from './fast-lookup.js';

/** The middlewares of one config that change a response from the cache. */
export interface FastPathDependencies {
  readonly state: CacheState;
  /** The middleware that the app mounts. */
  readonly middleware: unknown;
  readonly hits: FastLookup;
  readonly timing: TimingEditor | undefined;
  readonly metrics: MetricsEditor | undefined;
  readonly watch: RequestWatch;
  readonly log: RequestLogMiddleware | undefined;
  readonly cacheControl: CacheControlEditor | undefined;
  readonly compression: CompressionEditor | undefined;
}
