import type { CacheOptions, CacheRoutePolicies, CacheRule, CacheSettings } from './cache.js';
import type {
  CacheControlOptions,
  CacheControlPolicy,
  CacheControlRoutePolicies,
  CacheControlSettings,
} from './cache-control.js';
import type {
  CompressionOptions,
  CompressionPolicy,
  CompressionRoutePolicies,
  CompressionSettings,
} from './compression.js';
import type { MetricsOptions, MetricsSettings } from './metrics.js';
import type { RouteTable } from './routes.js';
import type {
  SizeLimitOptions,
  SizeLimitPolicy,
  SizeLimitRoutePolicies,
  SizeLimitSettings,
} from './size-limit.js';
import type { TimingOptions, TimingSettings } from './timing.js';

/** What holds for the requests of one path. */
export interface RoutePolicies {
  /** How responses are cached; `false`: never. Default: as the responses themselves say. */
  cache?: CacheRule | false;
  /** The `Cache-Control` of responses that have none; `false`: left alone. Default: that of the section. */
  cacheControl?: CacheControlPolicy | false;
  /** Largest request body; `false`: no limit. Default: that of the section. */
  sizeLimit?: SizeLimitPolicy;
  /** Compression; `false`: off. Default: that of the section. */
  compression?: CompressionPolicy;
}

/** The whole config. For each section `false` turns its middleware off; `true` or absent takes the defaults. */
export interface HotpathConfig {
  /** Policies by path, in Express 5 syntax (`/api/products/:id`, `/assets/*path`); the first match wins. Default none. */
  routes?: Readonly<Record<string, RoutePolicies>>;
  /** Request ids, response times and the slow-request hook. */
  timing?: TimingOptions | boolean;
  /** Prometheus metrics. */
  metrics?: MetricsOptions | boolean;
  /** The largest request body. */
  sizeLimit?: SizeLimitOptions | boolean;
  /** `Cache-Control` headers. */
  cacheControl?: CacheControlOptions | boolean;
  /** The response cache. */
  cache?: CacheOptions | boolean;
  /** Compression of responses. */
  compression?: CompressionOptions | boolean;
}

/** Resolved policies of one path; what is absent is left to the section. */
export interface ResolvedPolicies
  extends CacheRoutePolicies,
    CacheControlRoutePolicies,
    SizeLimitRoutePolicies,
    CompressionRoutePolicies {}

/** The config with every default filled in and every unit converted, frozen. `false`: turned off. */
export interface ResolvedConfig {
  readonly routes: RouteTable<ResolvedPolicies>;
  readonly timing: TimingSettings | false;
  readonly metrics: MetricsSettings | false;
  readonly sizeLimit: SizeLimitSettings | false;
  readonly cacheControl: CacheControlSettings | false;
  readonly cache: CacheSettings | false;
  readonly compression: CompressionSettings | false;
}

export function defineConfig(config: HotpathConfig): HotpathConfig {
  return config;
}
export function resolveConfig(_config?: HotpathConfig): ResolvedConfig {
  throw new Error('not built yet');
}
