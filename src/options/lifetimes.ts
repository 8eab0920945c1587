import { isPlainObject } from './format-value.js';
import { readLifetime } from './units.js';
import type { ValidationResult, Validator } from './validation-result.js';

/** Lifetimes by name. Seconds. */
export type Lifetimes = Readonly<Record<string, number>>;

/** The name of a lifetime. Any text for TypeScript, which does not know the names. */
export type LifetimeName = string & {};

export const noLifetimes: Lifetimes = Object.freeze(Object.create(null));

/** For a cache that is off: its section, with the names, may be missing. */
export const anyLifetime: Lifetimes = Object.freeze(Object.create(null));

const UNUSED_SECONDS = 60;

/** Reads the name of a lifetime. It cannot be taken for a duration, which begins with a digit. */
export const readLifetimeName: Validator<string> = (input) =>
  typeof input === 'string' && /^[a-z][\w-]*$/i.test(input)
    ? { value: input }
    : { expected: "a name such as 'database' (letters, digits, `-` and `_`, with a letter first)" };

/** Reads a lifetime greater than 0, as seconds. */
export const readTtl: Validator<number> = readTtlWith(noLifetimes);

/** Like `readTtl`; also accepts the name of a lifetime. */
export function readTtlWith(lifetimes: Lifetimes): Validator<number> {
  return (input) => {
    if (typeof input === 'string' && Object.hasOwn(lifetimes, input)) return { value: lifetimes[input]! };
    const isUnused = lifetimes === anyLifetime && 'value' in readLifetimeName(input);
    if (isUnused) return { value: UNUSED_SECONDS };
    const reading = readLifetime(input);
    if ('value' in reading && reading.value === 0) {
      return {
        expected: 'a duration greater than 0 (to cache nothing, leave the rule out or write `cache: false`)',
      };
    }
    return 'value' in reading ? reading : { expected: reading.expected + namesOf(input, lifetimes) };
  };
}

/** The lifetimes among the options of a cache, as far as they are valid: the schema reports the others. */
export function findLifetimes(cache: unknown): Lifetimes {
  if (cache === false) return anyLifetime;
  const given = isPlainObject(cache) && Object.hasOwn(cache, 'lifetimes') ? cache.lifetimes : undefined;
  if (!isPlainObject(given)) return noLifetimes;
  const found: Record<string, number> = Object.create(null);
  for (const [name, value] of Object.entries(given)) {
    const reading: ValidationResult<number> = readTtl(value);
    if ('value' in readLifetimeName(name) && 'value' in reading) found[name] = reading.value;
  }
  return found;
}

/** Names are only of interest where one was written. */
function namesOf(input: unknown, lifetimes: Lifetimes): string {
  if (!('value' in readLifetimeName(input))) return '';
  const names = Object.keys(lifetimes).map((name) => `'${name}'`);
  return names.length > 0
    ? `, or one of cache.lifetimes: ${names.join(', ')}`
    : ', or the name of one of cache.lifetimes, which has none';
}
