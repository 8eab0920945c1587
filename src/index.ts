export * from './cache/index.js';
export {
  defineConfig,
  type HotpathConfig,
  type ResolvedConfig,
  type RoutePolicies,
} from './config.js';
export { configFromEnv, type DatabaseEnvironment, databaseFromEnv } from './environment.js';
export { type Hotpath, type HotpathMetrics, hotpath } from './hotpath.js';
export * from './middleware/cache-control/index.js';
export * from './middleware/compression/index.js';
export * from './middleware/metrics/index.js';
export * from './middleware/size-limit/index.js';
export * from './middleware/timing/index.js';
export { type ConfigProblem, HotpathError, type HotpathErrorCode, isHotpathError } from './options/errors.js';
