import * as v from 'valibot';
import {
  type CacheOptions,
  type CacheRoutePolicies,
  type CacheRule,
  type CacheSettings,
  cacheSchema,
} from './cache/options.js';
import { createRuleSchema } from './cache/rule.js';
import {
  type CacheControlOptions,
  type CacheControlPolicy,
  type CacheControlRoutePolicies,
  type CacheControlSettings,
  cacheControlPolicySchema,
  cacheControlSchema,
} from './middleware/cache-control/options.js';
import {
  type CompressionOptions,
  type CompressionPolicy,
  type CompressionRoutePolicies,
  type CompressionSettings,
  completeCompressionPolicy,
  compressionPolicySchema,
  compressionSchema,
  resolveCompression,
} from './middleware/compression/options.js';
import {
  type LoadSheddingOptions,
  type LoadSheddingRoutePolicies,
  type LoadSheddingSettings,
  loadSheddingSchema,
} from './middleware/load-shedding/options.js';
import {
  type MetricsOptions,
  type MetricsPolicy,
  type MetricsRoutePolicies,
  type MetricsSettings,
  metricsPolicySchema,
  metricsSchema,
} from './middleware/metrics/options.js';
import {
  type RequestLogOptions,
  type RequestLogRoutePolicies,
  type RequestLogSettings,
  requestLogSchema,
} from './middleware/request-log/options.js';
import {
  type SizeLimitOptions,
  type SizeLimitPolicy,
  type SizeLimitRoutePolicies,
  type SizeLimitSettings,
  sizeLimitPolicySchema,
  sizeLimitSchema,
} from './middleware/size-limit/options.js';
import {
  type TimingOptions,
  type TimingRoutePolicies,
  type TimingSettings,
  timingSchema,
} from './middleware/timing/options.js';
import { isPlainObject } from './options/format-value.js';
import { findLifetimes, type Lifetimes } from './options/lifetimes.js';
import { compileRoutes, type RouteTable, readPattern } from './options/route-table.js';
import {
  leaf,
  mapOf,
  objectOr,
  resolve,
  type SectionCheck,
  type SectionHint,
  section,
  toggle,
} from './options/schema.js';
import { type AlertsOptions, type AlertsSettings, alertsSchema } from './telemetry/alerts/options.js';
import { type TelemetryOptions, type TelemetrySettings, telemetrySchema } from './telemetry/options.js';

/** The policies of one path. */
export interface RoutePolicies {
  /** How responses are cached; `false`: never. Default: responses that declare themselves cacheable are stored. */
  cache?: CacheRule | false | undefined;
  /** The `Cache-Control` header of responses that set none; `false`: add nothing. Default: `cacheControl.default`. */
  cacheControl?: CacheControlPolicy | false | undefined;
  /** The largest request body. Default: the `sizeLimit` section. */
  sizeLimit?: SizeLimitPolicy | undefined;
  /** Compression of responses. Default: the `compression` section. */
  compression?: CompressionPolicy | undefined;
  /** `false`: the requests count in no series but `http_requests_in_progress`; or buckets of its own. Default: the `metrics` section. */
  metrics?: MetricsPolicy | false | undefined;
  /** `false`: no timing headers, no request id, no reports to `onSlow` and `onRequest`. Default: the `timing` section. */
  timing?: false | undefined;
  /** `false`: its requests are never shed. Default: the `loadShedding` section. */
  loadShedding?: false | undefined;
  /** `false`: its requests are not logged. Default: the `log` section. */
  log?: false | undefined;
}

/** The whole config. In each section, `false` turns the middleware off; `true` or nothing takes the defaults. */
export interface HotpathConfig {
  /** Policies by path, in Express 5 syntax (`/api/products/:id`, `/assets/*path`); the first match wins. Default: none. */
  routes?: Readonly<Record<string, RoutePolicies>> | undefined;
  /** Request ids, response times and the slow-request hook. Default: on. */
  timing?: TimingOptions | boolean | undefined;
  /** Prometheus metrics. Default: on. */
  metrics?: MetricsOptions | boolean | undefined;
  /** Figures of routes, cache, process and machine, with an hour of history (`perf.telemetry`). Default: on. */
  telemetry?: TelemetryOptions | boolean | undefined;
  /** Alerts about slow requests, errors, the event loop, Redis and figures of the app; they need `telemetry`. Default: off. */
  alerts?: AlertsOptions | boolean | undefined;
  /** One line for each request, by the app's own logger. Default: off. */
  log?: RequestLogOptions | boolean | undefined;
  /** A 503 for a share of the requests while the process is overloaded. Default: off. */
  loadShedding?: LoadSheddingOptions | boolean | undefined;
  /** The largest request body. Default: on. */
  sizeLimit?: SizeLimitOptions | boolean | undefined;
  /** `Cache-Control` headers. Default: on. */
  cacheControl?: CacheControlOptions | boolean | undefined;
  /** The response cache. Default: on. */
  cache?: CacheOptions | boolean | undefined;
  /** Compression of responses. Default: on. */
  compression?: CompressionOptions | boolean | undefined;
}

/** Resolved policies of one path; the section decides whatever is absent. */
export interface ResolvedPolicies
  extends CacheRoutePolicies,
    CacheControlRoutePolicies,
    SizeLimitRoutePolicies,
    CompressionRoutePolicies,
    MetricsRoutePolicies,
    TimingRoutePolicies,
    LoadSheddingRoutePolicies,
    RequestLogRoutePolicies {}

/** The config with every default filled in and every unit converted, frozen. `false`: turned off. */
export interface ResolvedConfig {
  readonly routes: RouteTable<ResolvedPolicies>;
  readonly timing: TimingSettings | false;
  readonly metrics: MetricsSettings | false;
  readonly telemetry: TelemetrySettings | false;
  readonly alerts: AlertsSettings | false;
  readonly log: RequestLogSettings | false;
  readonly loadShedding: LoadSheddingSettings | false;
  readonly sizeLimit: SizeLimitSettings | false;
  readonly cacheControl: CacheControlSettings | false;
  readonly cache: CacheSettings | false;
  readonly compression: CompressionSettings | false;
}

/** A path beside `routes`. */
const hintAtRoutes: SectionHint = (key) =>
  key.startsWith('/')
    ? `a path; write it in \`routes\`: { routes: { '${key}': { cache: { ttl: '1h' } } } }`
    : undefined;

const off = leaf<false>((input) => (input === false ? { value: false } : { expected: 'false' }));

/** The sections. */
const sectionEntries = {
  timing: v.optional(toggle(timingSchema), {}),
  metrics: v.optional(toggle(metricsSchema), {}),
  telemetry: v.optional(toggle(telemetrySchema), {}),
  alerts: v.optional(toggle(alertsSchema), false),
  log: v.optional(toggle(requestLogSchema), false),
  loadShedding: v.optional(toggle(loadSheddingSchema), false),
  sizeLimit: v.optional(toggle(sizeLimitSchema), {}),
  cacheControl: v.optional(toggle(cacheControlSchema), {}),
  cache: v.optional(toggle(cacheSchema), {}),
  compression: v.optional(toggle(compressionSchema), {}),
} satisfies v.ObjectEntries;

/** The policies of one path besides its cache rule. */
const policyEntries = {
  cacheControl: v.optional(cacheControlPolicySchema),
  sizeLimit: v.optional(sizeLimitPolicySchema),
  compression: v.optional(compressionPolicySchema),
  metrics: v.optional(metricsPolicySchema),
  timing: v.optional(off),
  loadShedding: v.optional(off),
  log: v.optional(off),
} satisfies v.ObjectEntries;

const checkSections: SectionCheck = ({ alerts, telemetry }, report) => {
  if (alerts && telemetry === false) report('alerts', 'needs telemetry; remove `telemetry: false`');
};

/** @param lifetimes names that the `ttl` of a rule may have. */
function createConfigSchema(lifetimes: Lifetimes) {
  const rule = objectOr(createRuleSchema(lifetimes), [false], 'a cache rule or false');
  const policies = section({ cache: v.optional(rule), ...policyEntries });
  const routes = v.optional(mapOf(readPattern, policies), {});
  return section({ routes, ...sectionEntries }, checkSections, hintAtRoutes);
}

/** Returns the config unchanged; gives types to a config in a file of its own. */
export function defineConfig(config: HotpathConfig): HotpathConfig {
  return config;
}

/**
 * Fills in every default and converts every unit. The caller's object is never modified.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem of every section.
 */
export function resolveConfig(config?: HotpathConfig): ResolvedConfig {
  const lifetimes = findLifetimes(isPlainObject(config) ? config.cache : undefined);
  const { routes, ...sections } = resolve(createConfigSchema(lifetimes), config, '');
  // If the section is off, its numbers are unused; the defaults keep the type simple.
  const compressionSection = sections.compression || resolveCompression();
  const policies = Object.entries(routes).map(([pattern, policy]) => {
    const { compression, ...others } = policy;
    const resolved: ResolvedPolicies =
      compression === undefined
        ? others
        : { ...others, compression: completeCompressionPolicy(compression, compressionSection) };
    return [pattern, Object.freeze(resolved)] as const;
  });
  return Object.freeze({ ...sections, routes: compileRoutes(Object.fromEntries(policies)) });
}
