import * as v from 'valibot';
import { leaf, list, resolve, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { ValidationResult, Validator } from '../../options/validation-result.js';
import { booleanValidator, readPositiveDuration, readTimerDuration } from '../../options/validators.js';
import type { ClientOptions } from '../sessions.js';

/** Options of `purgeOnChange`. */
export interface PurgeOnChangeOptions {
  /** Pause between two polls of the database; from 10 ms. Default: `'50ms'`. */
  poll?: Duration | undefined;
  /**
   * Whether triggers are installed where they are missing. `false`: run the SQL of `npx hotpath postgres:migration`
   * before. Default: `true`.
   */
  install?: boolean | undefined;
  /**
   * How long entries are used while the database cannot be polled; then they are purged, again and again. From 100 ms.
   * Default: `cache.maxStaleness`.
   */
  maxStaleness?: Duration | undefined;
  /**
   * Replicas that handlers read, as options of `new pg.Client()`. Changes are purged once more when all of them have
   * replayed them. Default: none.
   */
  replicas?: readonly ClientOptions[] | undefined;
  /** The second purge waits this long at most for replicas. Default: `'30s'`. */
  replicaTimeout?: Duration | undefined;
}

/** Resolved options of `purgeOnChange`. Times in seconds. */
export type ChangeSettings = v.InferOutput<typeof changesSchema>;

const changesSchema = section({
  poll: v.optional(leaf(atLeast(0.01, "'10ms'")), '50ms'),
  install: v.optional(leaf(booleanValidator), true),
  maxStaleness: v.optional(leaf(atLeast(0.1, "'100ms'"))),
  replicas: v.optional(list(leaf(readClientOptions), 'a list of options of new pg.Client()'), []),
  replicaTimeout: v.optional(leaf(readPositiveDuration), '30s'),
});

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolvePurgeOnChange(options: PurgeOnChangeOptions | undefined): ChangeSettings {
  return resolve(changesSchema, options, 'purgeOnChange');
}

function atLeast(least: number, shown: string): Validator<number> {
  return (input) => {
    const reading = readTimerDuration(input);
    return 'value' in reading && reading.value < least
      ? { expected: `a duration of at least ${shown}` }
      : reading;
  };
}

/** Reads options of `new pg.Client()`. */
export function readClientOptions(input: unknown): ValidationResult<ClientOptions> {
  return typeof input === 'object' && input !== null && !Array.isArray(input)
    ? { value: input as ClientOptions }
    : { expected: 'options of new pg.Client(), such as { connectionString: … }' };
}
