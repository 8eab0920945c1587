export type { WaitingPool } from '../../options/validators.js';
export type { LoadSheddingOptions } from './options.js';
