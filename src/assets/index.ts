export type { StaticAssetsOptions } from './options.js';
export { type StaticAssets, staticAssets } from './static-assets.js';
export type { VariantCoding } from './variants.js';
