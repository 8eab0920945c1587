import { readName } from '../../options/validators.js';
import type { RouteOrder } from '../../telemetry/telemetry.js';

/** Parameters of a resource. */
export type ParameterName =
  | 'part'
  | 'instance'
  | 'limit'
  | 'sort'
  | 'since'
  | 'only'
  | 'keys'
  | 'prefix'
  | 'route'
  | 'tag'
  | 'ids'
  | 'format'
  | 'indexes';

/** The values of a query. */
export interface Query {
  /** One half of the response. Absent: both. */
  readonly part?: 'stable' | 'volatile';
  /** `all`, or the id of one. Absent: the instance that gets the request. */
  readonly instance?: string;
  /** The most routes. */
  readonly limit: number;
  readonly sort: RouteOrder;
  /** Milliseconds since 1970; points before it are left out. */
  readonly since: number;
  /** One of the two histories. Absent: both. */
  readonly only?: 'process' | 'routes';
  /** The most entries of the cache. */
  readonly keys: number;
  /** Conditions for entries of the cache. */
  readonly prefix?: string;
  readonly route?: string;
  readonly tag?: string;
  /** Ids of a dry run. */
  readonly ids: readonly string[];
  /** Absent: what `Accept` prefers, else JSON. */
  readonly format?: 'json' | 'markdown';
  /** Whether missing indexes are searched now. */
  readonly indexes?: boolean;
}

const ORDER_NAMES: readonly string[] = ['requests', 'time', 'errors'] satisfies RouteOrder[];

/** How each parameter is read. @returns `undefined` for a value that is not accepted. */
const READERS: Readonly<Record<ParameterName, (text: string) => Partial<Query> | undefined>> = {
  part: (text) => (text === 'stable' || text === 'volatile' ? { part: text } : undefined),
  instance: (text) => (/^[\w-]{1,64}$/.test(text) ? { instance: text } : undefined),
  limit: (text) => (isCount(text) ? { limit: Number(text) } : undefined),
  sort: (text) => (ORDER_NAMES.includes(text) ? { sort: text as RouteOrder } : undefined),
  since: (text) => (/^\d{1,15}$/.test(text) ? { since: Number(text) } : undefined),
  only: (text) => (text === 'process' || text === 'routes' ? { only: text } : undefined),
  keys: (text) => (isCount(text) ? { keys: Number(text) } : undefined),
  prefix: (text) => (isCondition(text) ? { prefix: text } : undefined),
  route: (text) => (isCondition(text) ? { route: text } : undefined),
  tag: (text) => (isCondition(text) ? { tag: text } : undefined),
  ids: (text) => (/^[0-9a-f]{16}(?:,[0-9a-f]{16}){0,49}$/.test(text) ? { ids: text.split(',') } : undefined),
  format: (text) => (text === 'json' || text === 'markdown' ? { format: text } : undefined),
  indexes: (text) => (text === 'true' || text === 'false' ? { indexes: text === 'true' } : undefined),
};

function isCount(text: string): boolean {
  return /^[1-9]\d{0,2}$/.test(text) && Number(text) <= 500;
}

function isCondition(text: string): boolean {
  return 'value' in readName(text) && text.length <= 2000;
}

/** The accepted values, for messages. */
const ACCEPTED: Readonly<Record<ParameterName, string>> = {
  part: 'stable or volatile',
  instance: 'all, or the id of an instance as /instances has it',
  limit: 'a number from 1 to 500',
  sort: ORDER_NAMES.join(', '),
  since: 'milliseconds since 1970',
  only: 'process or routes',
  keys: 'a number from 1 to 500',
  prefix: 'the beginning of a path',
  route: 'the template of a route',
  tag: 'a tag',
  format: 'json or markdown',
  indexes: 'true or false',
  ids: 'ids of a dry run, with commas between them, 50 at most',
};

/**
 * Reads a query. A mistake is an error, so that a mistyped parameter is not taken for its default.
 *
 * @param known parameters of the resource.
 * @returns the values, or what is wrong.
 */
export function readQuery(query: URLSearchParams, known: readonly ParameterName[]): Query | string {
  let read: Query = { limit: 50, sort: 'requests', since: 0, keys: 50, ids: [] };
  for (const name of new Set(query.keys())) {
    const parameter = known.find((each) => each === name);
    if (parameter === undefined) {
      const list = known.length > 0 ? `it has ${known.join(', ')}` : 'it has none';
      return `A parameter of the query is unknown to this resource; ${list}.`;
    }
    const [text = '', ...others] = query.getAll(name);
    const value = others.length === 0 ? READERS[parameter](text) : undefined;
    if (!value) return `\`${parameter}\` is given once, as ${ACCEPTED[parameter]}.`;
    read = { ...read, ...value };
  }
  return read;
}
