import * as v from 'valibot';
import { type LifetimeName, type Lifetimes, readTtlWith } from '../options/lifetimes.js';
import { leaf, list, type Schema, type SectionCheck, section } from '../options/schema.js';
import { type Duration, readDuration } from '../options/units.js';
import type { ValidationResult } from '../options/validation-result.js';
import {
  booleanValidator,
  readFunction,
  readInteger,
  readName,
  readPartialShare,
  readPositiveDuration,
  readTimerDuration,
  readWord,
} from '../options/validators.js';

/** How long a result is kept. */
export interface ResultLifetime {
  /** How long it is fresh, such as `'1h'`, or the name of one of `cache.lifetimes`. Greater than 0. */
  ttl: Duration | LifetimeName;
  /** How long after its lifetime it is used while a run in the background replaces it. Default: none. */
  staleWhileRevalidate?: Duration | undefined;
  /** How long after its lifetime it replaces an error or a timeout of the function. Default: none. */
  staleIfError?: Duration | undefined;
}

/** How the results of a function are cached, whatever its arguments. */
export interface CommonFunctionOptions extends ResultLifetime {
  /** Names the function in keys, tags, figures and metrics: unique in one cache, and the same on all instances. */
  name: string;
  /**
   * How long the caller waits for a run. Then `currentRun().signal` aborts, and the caller gets a stale result within
   * `staleIfError`, or a `HotpathError` with the code `HOTPATH_FUNCTION_TIMEOUT`. At most one day. Default: none.
   */
  timeout?: Duration | undefined;
  /** How long the caller waits for a run before it gets the stale result; the run goes on. Default: until the run ends. */
  softTimeout?: Duration | undefined;
  /** Share of the lifetime, between 0 and 1, such as 0.8. After it, a call starts a run in the background. Default: none. */
  eagerRefresh?: number | undefined;
  /** How long an error is kept, in the memory of this process, and thrown again. Default: errors are not kept. */
  negativeTtl?: Duration | undefined;
  /** Separates the results of deployments whose results differ in form. Default: none. */
  version?: string | number | undefined;
  /**
   * `'clone'`: each caller gets a copy. `'freeze'`: all callers get one frozen object; results with a Date, Map, Set or
   * binary value are cloned, because those cannot be frozen. `'none'`: all callers get one object, and must not change
   * it. Default: `'clone'`.
   */
  isolate?: 'clone' | 'freeze' | 'none' | undefined;
  /**
   * Whether a call throws if its arguments cannot be a key, or its result cannot be stored. Otherwise the result is
   * returned uncached, and a process warning appears once. Default: `true`, unless `NODE_ENV` is `production`.
   */
  strict?: boolean | undefined;
}

/** How a function is cached. */
export interface FunctionOptions<Args extends readonly unknown[] = readonly unknown[]>
  extends CommonFunctionOptions {
  /**
   * Returns the value that identifies the result, in place of the arguments. Needed for arguments that are functions,
   * class instances or cyclic. Default: the arguments.
   */
  key?: ((...args: Args) => unknown) | undefined;
  /**
   * Names for purging results together, with responses of the same tags: a list, or a function of the arguments. Each
   * result also has the tag `function:NAME` and one of its own. Default: none.
   */
  tags?: readonly string[] | ((...args: Args) => readonly string[]) | undefined;
  /** Whether calls with the same key wait for one run: in this process (`true`, `'instance'`), on all instances that share a Redis (`'cluster'`), or not (`false`). Default: `'instance'`. */
  collapse?: boolean | 'instance' | 'cluster' | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: functions of any arguments
type OfArguments<Value> = (...args: any[]) => Value;

const lifetimeEntries = {
  staleWhileRevalidate: v.optional(leaf(readDuration), 0),
  staleIfError: v.optional(leaf(readDuration), 0),
} satisfies v.ObjectEntries;

const functionEntries = {
  ...lifetimeEntries,
  name: leaf(readFunctionName),
  timeout: v.optional(leaf(readTimeLimit)),
  softTimeout: v.optional(leaf(readTimerDuration)),
  eagerRefresh: v.optional(leaf(readPartialShare)),
  negativeTtl: v.optional(leaf(readPositiveDuration)),
  version: v.optional(leaf(readVersion)),
  isolate: v.optional(leaf(readWord('clone', 'freeze', 'none')), 'clone'),
  strict: v.optional(leaf(booleanValidator)),
  key: v.optional(leaf(readFunction<OfArguments<unknown>>())),
  tags: v.optional(createTagsSchema(), []),
  collapse: v.optional(leaf(readCollapsing), 'instance'),
} satisfies v.ObjectEntries;

/** @param lifetimes names that `ttl` may have. */
export function createFunctionSchema(lifetimes: Lifetimes) {
  return section({ ttl: leaf(readTtlWith(lifetimes)), ...functionEntries }, checkFunction);
}

/** Resolved options of a cached function: durations in seconds. */
export type FunctionSettings = v.InferOutput<ReturnType<typeof createFunctionSchema>>;

/** @param lifetimes names that `ttl` may have. */
export function createValueSchema(lifetimes: Lifetimes) {
  const tags = v.optional(list(leaf(readName), 'a list of tags'), []);
  return section({ ttl: leaf(readTtlWith(lifetimes)), ...lifetimeEntries, tags });
}

const checkFunction: SectionCheck = (given, report) => {
  const timeout = readDuration(given.timeout);
  const softTimeout = readDuration(given.softTimeout);
  if ('value' in timeout && 'value' in softTimeout && timeout.value < softTimeout.value) {
    report('softTimeout', 'is longer than `timeout`, so it has no effect; set a shorter one');
  }
  if (given.softTimeout !== undefined && given.staleIfError === undefined) {
    report('softTimeout', 'has no effect without `staleIfError`; set `staleIfError`');
  }
};

type FunctionTags = readonly string[] | OfArguments<readonly string[]>;

function createTagsSchema(): Schema<FunctionTags> {
  const fixed = list(leaf(readName), 'a list of tags, or a function that gives one');
  const computed = leaf(readFunction<OfArguments<readonly string[]>>());
  return v.lazy((input): Schema<FunctionTags> => (typeof input === 'function' ? computed : fixed));
}

const LONGEST_FUNCTION_NAME = 100;

function readFunctionName(input: unknown): ValidationResult<string> {
  const reading = readName(input);
  return 'value' in reading && reading.value.length <= LONGEST_FUNCTION_NAME
    ? reading
    : {
        expected: `the name of the function in keys and figures, of at most ${LONGEST_FUNCTION_NAME} characters`,
      };
}

function readVersion(input: unknown): ValidationResult<string | number> {
  return 'value' in readName(input) || 'value' in readInteger(0)(input)
    ? { value: input as string | number }
    : { expected: "a string such as '2' or a whole number" };
}

function readTimeLimit(input: unknown): ValidationResult<number> {
  const reading = readPositiveDuration(input);
  return 'value' in reading ? readTimerDuration(input) : reading;
}

function readCollapsing(input: unknown): ValidationResult<false | 'instance' | 'cluster'> {
  if (input === false) return { value: false };
  if (input === true) return { value: 'instance' };
  const reading = readWord('instance', 'cluster')(input);
  return 'value' in reading ? reading : { expected: `true, false, ${reading.expected}` };
}
