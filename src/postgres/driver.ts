import type { EventEmitter } from 'node:events';

/** The parts of a client of `pg` that are used, whatever version its types have. */
export interface DriverClient extends EventEmitter {
  // biome-ignore lint/suspicious/noExplicitAny: the driver declares a dozen overloads.
  query: (...args: any[]) => any;
  release?(error?: unknown): void;
}

/** The parts of `Pool` of `pg` that are used, whatever version its types have. */
export interface DriverPool extends EventEmitter {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly options: { readonly max?: number | undefined };
  // biome-ignore lint/suspicious/noExplicitAny: the driver declares several overloads.
  connect: (...args: any[]) => any;
  // biome-ignore lint/suspicious/noExplicitAny: the driver declares a dozen overloads.
  query: (...args: any[]) => any;
}

/** A query of any shape: a text, a config, or an object with `submit`. */
export type DriverQuery = string | { readonly [name: string]: unknown } | null | undefined;

/** The text of a query; empty if it is not known. */
export function textOfQuery(query: DriverQuery): string {
  if (typeof query === 'string') return query;
  if (!query) return '';
  if (typeof query.text === 'string') return query.text;
  // A stream of `pg-query-stream` holds its cursor.
  const { cursor } = query as { cursor?: { text?: unknown } | null };
  return typeof cursor?.text === 'string' ? cursor.text : '';
}

/** Rows that a result has returned or changed; several statements have a list of results. */
export function rowsOf(result: unknown): number {
  if (Array.isArray(result)) return result.reduce((sum: number, each) => sum + rowsOf(each), 0);
  const { rowCount } = (result ?? {}) as { rowCount?: unknown };
  return typeof rowCount === 'number' ? rowCount : 0;
}

/** The SQLSTATE of an error, which its server sent, or `connection`: without one, the connection broke. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  // EPIPE, of the socket, only looks like one.
  return typeof code === 'string' && /^(?!E)[0-9A-Z]{5}$/.test(code) ? code : 'connection';
}
