export type { Authorize, AuthorizeContext } from './access/authorize.js';
export { type BasicAuthOptions, basicAuth } from './access/basic-auth.js';
export type { PerformanceApiOptions, PoolCounts } from './options.js';
export { type PerformanceApi, performanceApi } from './performance-api/performance-api.js';
