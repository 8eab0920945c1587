export type {
  CompressionOptions,
  CompressionPolicy,
  ContentEncoding,
  StandaloneCompressionOptions,
} from '../config/compression.js';
export { type CompressionMiddleware, compression } from '../middleware/compression.js';
