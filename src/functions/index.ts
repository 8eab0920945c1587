export type { FunctionCounts, FunctionStats } from './counts.js';
export type { CachedFunction, CachedMany, CacheFunctions, ManyOptions } from './function-cache.js';
export type { MethodDecoratorOf } from './method.js';
export type { FunctionOptions } from './options.js';
export { currentRun, type RunContext } from './scope.js';
export type { ValueOptions } from './stored-values.js';
