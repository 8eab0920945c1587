import { createHash } from 'node:crypto';
import { type IndexDefinition, nameHashOf, type QualifiedName } from '../indexes/definition.js';

/** The parts of the name of an index that hotpath has built. */
export interface OwnName {
  /** The beginning of the id of its advice; of the index of a partition, of that of the parent. */
  readonly hash: string;
  /** It is the index of a partition, and belongs to the one of the parent. */
  readonly isPart: boolean;
}

const PART = /^hotpath_part_.*_([0-9a-f]{8})_([0-9a-f]{8})$/;
const WHOLE = /^hotpath_.*_([0-9a-f]{8})$/;

/**
 * @param table of the index: the name of one on a table `part_…` may look like that of a part.
 * @returns `undefined` for a name of others.
 */
export function readOwnName(name: string, table: QualifiedName): OwnName | undefined {
  const part = PART.exec(name);
  if (part && part[2] === tableHash(table)) return { hash: part[1]!, isPart: true };
  const hash = WHOLE.exec(name)?.[1];
  return hash === undefined ? undefined : { hash, isPart: false };
}

/** The name of the index of a partition: it shows the advice, so that an index without a parent is known. */
export function partNameOf(parent: IndexDefinition, partition: QualifiedName): string {
  return `hotpath_part_${Buffer.from(partition.name).subarray(0, 24).toString('latin1').replaceAll(/[^\w]/g, '_')}_${nameHashOf(parent)}_${tableHash(partition)}`;
}

function tableHash({ schema, name }: QualifiedName): string {
  return createHash('sha256').update(`${schema}.${name}`).digest('hex').slice(0, 8);
}
