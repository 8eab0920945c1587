import * as v from 'valibot';
import { compileRoutes, type RouteTable, readPattern } from './route-table.js';
import { mapOf, resolve, type Schema, type SectionCheck, section } from './schema.js';

type Options<E extends v.ObjectEntries> = Readonly<v.InferOutput<v.ObjectSchema<E, undefined>>>;

/** A section of the config whose middleware can be used alone. */
interface StandaloneSection<Key extends string, E extends v.ObjectEntries, Read, Policy> {
  /** The name of its policies in a table of routes. */
  readonly key: Key;
  readonly entries: E;
  /** Reads a route's policy. */
  readonly policy: Schema<Read>;
  /** Fills the gaps of a route's policy with the section's settings. Default: it has none. */
  readonly complete?: (policy: Read, settings: Options<E>) => Policy;
  readonly check?: SectionCheck;
}

/**
 * Resolves the options of a middleware used alone: those of its section, and `routes` with policies by path.
 *
 * @param path the path of the options, for messages.
 * @returns settings and a table of routes, in the form that the whole config gives them.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveStandalone<Key extends string, E extends v.ObjectEntries, Read, Policy = Read>(
  { key, entries, policy, complete, check }: StandaloneSection<Key, E, Read, Policy>,
  input: unknown,
  path: string = key,
): { settings: Options<E>; routes: RouteTable<{ readonly [K in Key]: Policy }> } {
  const all = { ...entries, routes: v.optional(mapOf(readPattern, policy), {}) };
  const { routes, ...options } = resolve(section(all, check), input, path) as Options<E> & {
    readonly routes: Readonly<Record<string, Read>>;
  };
  const settings = Object.freeze(options) as unknown as Options<E>;
  const policies = Object.entries(routes).map(([pattern, read]) => {
    const own = complete ? complete(read, settings) : read;
    return [pattern, Object.freeze({ [key]: own } as { readonly [K in Key]: Policy })] as const;
  });
  return { settings, routes: compileRoutes(Object.fromEntries(policies)) };
}
