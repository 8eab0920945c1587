export type { LoggedRequest, LogLevel, RequestLogger, RequestLogOptions } from './options.js';
