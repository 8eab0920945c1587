import * as v from 'valibot';
import type { Schema } from '../../options/schema.js';
import { leaf, list, section } from '../../options/schema.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { readFunction, readName } from '../../options/validators.js';

/** A level of a logger. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A logger with the methods of pino: fields first, then a message. */
export interface RequestLogger {
  info(fields: object, message: string): unknown;
  warn(fields: object, message: string): unknown;
  error(fields: object, message: string): unknown;
  debug?(fields: object, message: string): unknown;
}

/** The fields of one request in the log. Text of clients is escaped and bounded. */
export interface LoggedRequest {
  /** `req.id`, if something has set it; else that of the timing middleware. */
  readonly requestId: string;
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** With its `?`; absent unless the options say otherwise. */
  readonly query?: string | undefined;
  /** Template of the route that responded; absent if none did. */
  readonly route?: string | undefined;
  /** 499 where the client left before the response was complete. */
  readonly status: number;
  /** From the arrival of the request to the end of the response. */
  readonly seconds: number;
  /** Body bytes of the response, as they were sent. */
  readonly responseBytes: number;
  /** The result of the cache, as `X-Cache` has it; absent if no cache handled the request. */
  readonly cache?: string | undefined;
  /** According to Express's `trust proxy` setting. */
  readonly clientAddress?: string | undefined;
  /** The client left before the response was complete. */
  readonly aborted: boolean;
}

/** Options of the request log. */
export interface RequestLogOptions {
  /** The app's logger, such as one of pino; what it throws is reported once in a while and breaks nothing. Default: lines of JSON on the console. */
  logger?: RequestLogger | undefined;
  /**
   * Whether queries are logged, which may hold secrets: `true`, or the names of the parameters whose values are shown; the
   * values of others become `[redacted]`. Default: `false`.
   */
  query?: boolean | readonly string[] | undefined;
  /**
   * The level of a line; `false`: none. Default: `error` from status 500 on, `warn` from 400 on, else `info`; scrapes and
   * health endpoints that go well: `debug`.
   */
  level?: ((request: LoggedRequest) => LogLevel | false) | undefined;
}

/** The part of a route's policies that concerns the request log. */
export interface RequestLogRoutePolicies {
  readonly log?: false | undefined;
}

/** Resolved options of the request log. */
export type RequestLogSettings = v.InferOutput<typeof requestLogSchema>;

const querySchema: Schema<boolean | readonly string[]> = v.lazy(
  (input): Schema<boolean | readonly string[]> =>
    Array.isArray(input)
      ? list(leaf(readName), 'names of parameters')
      : leaf<boolean>((value) =>
          typeof value === 'boolean'
            ? { value }
            : { expected: "true, false or names of parameters, such as ['page']" },
        ),
);

/** Reads the section. */
export const requestLogSchema = section({
  logger: v.optional(leaf(readLogger)),
  query: v.optional(querySchema, false),
  level: v.optional(leaf(readFunction<NonNullable<RequestLogOptions['level']>>())),
});

function readLogger(input: unknown): ValidationResult<RequestLogger> {
  const methods = ['info', 'warn', 'error'] as const;
  const logger = input as Partial<RequestLogger> | null | undefined;
  return methods.every((name) => typeof logger?.[name] === 'function')
    ? { value: input as RequestLogger }
    : { expected: 'a logger with the methods info, warn and error, such as one of pino' };
}
