export type { ContentEncoding } from '../../http/content-encoding.js';
export { type CompressionMiddleware, compression } from './middleware.js';
export type {
  CompressionOptions,
  CompressionPolicy,
  StandaloneCompressionOptions,
} from './options.js';
