export { type CompressionMiddleware, compression } from './middleware.js';
export type {
  CompressionOptions,
  CompressionPolicy,
  ContentEncoding,
  StandaloneCompressionOptions,
} from './options.js';
