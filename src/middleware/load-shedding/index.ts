export type { LoadSheddingOptions, WaitingPool } from './options.js';
