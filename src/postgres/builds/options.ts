import * as v from 'valibot';
import { leaf, section } from '../../options/schema.js';
import { readDuration } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { booleanValidator, readPositiveDuration, readPositiveSize } from '../../options/validators.js';
import type { AdviceLevel } from '../indexes/advice-level.js';

/** Resolved options of builds. */
export type BuildSettings = v.InferOutput<typeof buildSchema>;

const LEVELS: readonly string[] = ['verified', 'sampled', 'trial', 'estimated'] satisfies AdviceLevel[];

/** The entries of a schema. */
export const buildEntries = {
  apply: v.optional(leaf(booleanValidator), false),
  levels: v.optional(leaf(readLevels)),
  maxTableBytes: v.optional(leaf(readPositiveSize), '20gb'),
  lockTimeout: v.optional(leaf(readPositiveDuration), '5m'),
  maxTransactionAge: v.optional(leaf(readDuration), '1m'),
  retryFor: v.optional(leaf(readDuration), '30m'),
};

const buildSchema = section(buildEntries);

function readLevels(input: unknown): ValidationResult<readonly AdviceLevel[]> {
  const isList = Array.isArray(input) && input.length > 0 && input.every((each) => LEVELS.includes(each));
  return isList
    ? { value: Object.freeze([...input]) as readonly AdviceLevel[] }
    : { expected: `a list of levels: ${LEVELS.join(', ')}` };
}
