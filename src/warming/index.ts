export type {
  WarmableApp,
  WarmingContext,
  WarmingStartOptions,
  WarmingStopOptions,
  WarmingTaskOptions,
  WarmingTopKeysOptions,
  WarmingUrlsFunction,
} from './options.js';
export { type StandaloneWarmingOptions, warming } from './standalone.js';
export type { WarmingResult, WarmingTaskFigures } from './task.js';
export type { Warming, WarmingCheckResult } from './warming.js';
