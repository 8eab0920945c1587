import { distance } from 'fastest-levenshtein';
import * as v from 'valibot';
import { warn } from '../runtime/warn.js';
import { type ConfigProblem, configError } from './errors.js';
import { formatValue, isPlainObject, joinPath } from './format-value.js';
import type { Validator } from './validation-result.js';

/** A schema that accepts any input and returns a `T` or problems. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/** Where an option belongs that is unknown in a section; `undefined` if there is no such place. */
export type SectionHint = (key: string) => string | undefined;

/** Reports invalid combinations of options, by key. */
export type SectionCheck = (given: Given, report: (key: string, message: string) => void) => void;

type Path = [v.IssuePathItem, ...v.IssuePathItem[]];
type Given = Readonly<Record<string, unknown>>;
type SectionOutput<E extends v.ObjectEntries> = Readonly<v.InferOutput<v.ObjectSchema<E, undefined>>>;

// A valibot issue always has a `received`; this one means that no single value is wrong.
const noValue = '';

/** The options of each section, and of a map under the key `/path`: to say where an unknown option belongs. */
const contents = new WeakMap<object, Readonly<Record<string, unknown>>>();

/** Marks the issue of an option of an unknown name. */
const KNOWN = 'a known option';

// Passed with every call, so that an app with its own global valibot config still gets every problem.
const everyProblem = { abortEarly: false, abortPipeEarly: false };

/** Doubtful values count as problems too, so that they are found with their paths. */
const everyDoubt = { ...everyProblem, lang: 'doubts' };

function modeOf({ lang }: { readonly lang?: string | undefined }) {
  return lang === everyDoubt.lang ? everyDoubt : everyProblem;
}

/**
 * A single value, validated by a reader.
 * @param describe formats the value for the error message.
 */
export function leaf<T>(read: Validator<T>, describe: (value: unknown) => string = formatValue): Schema<T> {
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, config, addIssue, NEVER }): T => {
      const reading = read(dataset.value);
      if ('value' in reading) {
        if (reading.doubt === undefined || config.lang !== everyDoubt.lang) return reading.value;
        addIssue({ message: reading.doubt, received: noValue });
        return NEVER;
      }
      addIssue({ message: `expected ${reading.expected}`, received: describe(dataset.value) });
      return NEVER;
    }),
  );
}

/** Rejects every value. The error says what would be valid. */
function reject(expected: string): Schema<never> {
  return leaf<never>(() => ({ expected }));
}

/** A list whose items are checked one by one; frozen. */
export function list<T>(item: Schema<T>, expected: string): Schema<readonly T[]> {
  const items = v.pipe(v.array(item), v.transform(Object.freeze as (value: T[]) => readonly T[]));
  return v.lazy((input) => (Array.isArray(input) ? items : reject(expected)));
}

/**
 * An object of known options. The result is frozen, and never the object of the caller.
 * @param check reports invalid combinations. It receives the input, valid or not, so that one
 * mistake does not hide another.
 * @param hint where an option belongs that was put into the wrong section.
 */
export function section<E extends v.ObjectEntries>(
  entries: E,
  check?: SectionCheck,
  hint?: SectionHint,
): Schema<SectionOutput<E>> {
  // valibot reads inherited keys too, which must not be accepted here.
  const options = v.object(Object.assign(Object.create(null), entries) as E, ({ path }) =>
    describeMissing(entries[String(path?.at(-1)?.key)]),
  );
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, config, addIssue, NEVER }): SectionOutput<E> => {
      const input = dataset.value;
      if (!isPlainObject(input)) {
        addIssue({ message: 'expected an object of options', received: formatValue(input) });
        return NEVER;
      }
      const report = (key: string, message: string) =>
        addIssue({ message, received: noValue, path: [pathItem(input, key)] });
      for (const key of Object.keys(input)) {
        if (!Object.hasOwn(entries, key)) {
          const hinted = hint?.(key);
          if (hinted !== undefined) report(key, hinted);
          else {
            const message = unknownOption(key, Object.keys(entries));
            addIssue({ message, expected: KNOWN, received: noValue, path: [pathItem(input, key)] });
          }
        }
      }
      const given = ownDefined(input);
      const result = v.safeParse(options, given, modeOf(config));
      for (const { message, expected, received, path } of result.issues ?? []) {
        addIssue({ message, expected: expected ?? undefined, received, path: path as Path });
      }
      check?.(given, report);
      return result.success ? Object.freeze(result.output) : NEVER;
    }),
  );
  contents.set(schema, entries);
  return schema;
}

/** An object schema, or one of some literal values. */
export function objectOr<T, const L extends boolean>(
  schema: Schema<T>,
  literals: readonly L[],
  expected: string,
): Schema<T | L> {
  const either = v.lazy((input): Schema<T | L> => {
    const literal = literals.find((each) => each === input);
    if (literal !== undefined) return leaf(() => ({ value: literal }));
    return isPlainObject(input) ? schema : reject(expected);
  });
  const options = optionsIn(schema);
  if (options) contents.set(either, options);
  return either;
}

/** `Options | boolean`: `false` stays, `true` takes the defaults. */
export function toggle<T>(schema: Schema<T>): Schema<T | false> {
  return v.pipe(
    v.unknown(),
    v.transform((input) => (input === true ? {} : input)),
    objectOr(schema, [false], 'an object of options, true or false'),
  );
}

/**
 * An object whose keys are checked by a reader and whose values by a schema; keeps the order; frozen.
 * @param keys the kind of the keys, for messages.
 */
export function mapOf<T>(
  readKey: Validator<string>,
  value: Schema<T>,
  keys = 'paths',
): Schema<Readonly<Record<string, T>>> {
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, config, addIssue, NEVER }): Readonly<Record<string, T>> => {
      const input = dataset.value;
      if (!isPlainObject(input)) {
        addIssue({ message: `expected an object with ${keys} as its keys`, received: formatValue(input) });
        return NEVER;
      }
      const output: Record<string, T> = Object.create(null);
      for (const [key, each] of Object.entries(ownDefined(input))) {
        const item = pathItem(input, key);
        const reading = readKey(key);
        if ('expected' in reading) {
          addIssue({ message: `expected ${reading.expected}`, received: noValue, path: [item] });
        }
        const result = v.safeParse(value, each, modeOf(config));
        for (const { message, expected, received, path } of result.issues ?? []) {
          addIssue({
            message,
            expected: expected ?? undefined,
            received,
            path: [item, ...((path ?? []) as v.IssuePathItem[])],
          });
        }
        if (result.success) output[key] = result.output;
      }
      return Object.freeze(output);
    }),
  );
  contents.set(schema, { '/path': value });
  return schema;
}

/**
 * Runs a schema over options; `undefined` counts as no options. Warns of values that are probably mistakes.
 * @param path the path of the options, for messages; `''` for the whole config.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolve<T>(schema: Schema<T>, input: unknown, path: string): T {
  const options = input === undefined ? {} : input;
  const result = v.safeParse(schema, options, everyProblem);
  if (!result.success) throw configError(result.issues.map((issue) => toProblem(issue, path, schema)));
  for (const issue of v.safeParse(schema, options, everyDoubt).issues ?? []) {
    const doubt = toProblem(issue, path, schema);
    warn('HOTPATH_DURATION_UNIT', `${doubt.path} ${doubt.message}`);
  }
  return result.output;
}

function toProblem(issue: v.BaseIssue<unknown>, root: string, schema: unknown): ConfigProblem {
  const path = (issue.path ?? []).reduce(
    (joined, item) => joinPath(joined, item.key as string | number),
    root,
  );
  const message = issue.expected === KNOWN ? issue.message + otherPlaces(issue, schema) : issue.message;
  const problem = { path: path === '' ? 'config' : path, message };
  return issue.received === noValue ? problem : { ...problem, received: issue.received };
}

/** The accepted values of an option that must be there. */
function describeMissing(entry: v.ObjectEntries[string] | undefined): string {
  const { issues } = v.safeParse(entry as Schema<unknown>, undefined, everyProblem);
  return issues?.[0].message ?? 'must be set';
}

function unknownOption(key: string, known: readonly string[]): string {
  if (key === '__proto__') return 'not an option: it would change the prototype of an object';
  const nearest = known
    .map((name) => ({ name, edits: distance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits)[0];
  // With more than a third of the letters wrong, it is no typing mistake.
  if (nearest !== undefined && nearest.edits <= Math.max(2, Math.floor(nearest.name.length / 3))) {
    return `unknown option; did you mean '${nearest.name}'?`;
  }
  return `unknown option; known are ${known.join(', ')}`;
}

/** Where an option belongs that is unknown in its section. */
function otherPlaces({ path, message }: v.BaseIssue<unknown>, schema: unknown): string {
  const name = String(path?.at(-1)?.key);
  const forms = placesOf(name, schema).slice(0, MOST_PLACES).map(formatPlace).join(' or ');
  if (forms === '') return '';
  return message.endsWith('?') ? ` Or write it as ${forms}` : `. Write it as ${forms}`;
}

/** Most places that a message names. */
const MOST_PLACES = 3;

/** The paths of all options of a name within a schema. */
function placesOf(name: string, schema: unknown, path: readonly string[] = []): (readonly string[])[] {
  return Object.entries(optionsIn(schema) ?? {}).flatMap(([key, inner]) => {
    const place = [...path, key];
    const places = placesOf(name, inner, place);
    return key === name ? [place, ...places] : places;
  });
}

/** The options of a schema, which may be optional, or the beginning of a pipe. */
function optionsIn(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof schema !== 'object' || schema === null) return undefined;
  const { pipe = [], wrapped } = schema as { pipe?: readonly unknown[]; wrapped?: unknown };
  const parts = [wrapped, ...pipe.filter((part) => part !== schema)];
  return contents.get(schema) ?? parts.map(optionsIn).find((options) => options !== undefined);
}

/** `{ cache: { redis: … } }` */
function formatPlace(place: readonly string[]): string {
  return place.reduceRight((value, key) => `{ ${key.startsWith('/') ? `'${key}'` : key}: ${value} }`, '…');
}

// Without a prototype, so that neither an own `__proto__` nor a polluted `Object.prototype` provides an option.
function ownDefined(input: Record<string, unknown>): Given {
  const own: Record<string, unknown> = Object.create(null);
  for (const [key, value] of Object.entries(input)) {
    if (value !== undefined) own[key] = value;
  }
  return own;
}

function pathItem(input: Record<string, unknown>, key: string): v.IssuePathItem {
  return { type: 'object', origin: 'value', input, key, value: input[key] };
}
