import { UNMEASURED_REASONS } from '../adviser/buffers/buffer-meter.js';
import { quoteLiteral } from '../changes/sql.js';
import type { AdviceLevel } from '../indexes/advice-level.js';
import type { BuildGain } from './types.js';

/** Facts about a build that its index keeps as its comment, so that any instance can report them. */
export interface Provenance {
  readonly id: string;
  readonly level: AdviceLevel;
  /** When the build began. ISO 8601. */
  readonly at: string;
  /** Absent while it is built. */
  readonly seconds?: number;
  readonly gains?: readonly BuildGain[];
}

const PREFIX = 'hotpath ';

/** The statement that writes the comment. @param name in quotes, with its schema. */
export function commentOn(name: string, provenance: Provenance): string {
  return `COMMENT ON INDEX ${name} IS ${quoteLiteral(PREFIX + JSON.stringify(provenance))}`;
}

/** Reads a comment, which anyone with rights on the index may have changed. */
export function readProvenance(comment: string | null): Partial<Provenance> {
  if (!comment?.startsWith(PREFIX)) return {};
  try {
    const value: unknown = JSON.parse(comment.slice(PREFIX.length));
    if (typeof value !== 'object' || value === null) return {};
    const { id, seconds, gains } = value as Record<string, unknown>;
    return {
      ...(typeof id === 'string' && /^[0-9a-f]{16}$/.test(id) && { id }),
      ...(typeof seconds === 'number' && { seconds }),
      ...(Array.isArray(gains) && gains.every(isGain) && { gains: gains.map(gainOf) }),
    };
  } catch {
    return {};
  }
}

type StoredGain = Pick<BuildGain, 'text' | 'costBefore' | 'costAfter'> & Partial<BuildGain>;

function isGain(value: unknown): value is StoredGain {
  const { text, costBefore, costAfter } = (value ?? {}) as Partial<BuildGain>;
  return typeof text === 'string' && typeof costBefore === 'number' && typeof costAfter === 'number';
}

/** Comments of earlier versions have no buffers. */
function gainOf({
  text,
  costBefore,
  costAfter,
  buffersBefore,
  buffersAfter,
  buffersReason,
}: StoredGain): BuildGain {
  const isNumber = (value: unknown): value is number => typeof value === 'number';
  const isComplete = isNumber(buffersBefore) && isNumber(buffersAfter);
  return {
    text,
    costBefore,
    costAfter,
    buffersBefore: isNumber(buffersBefore) ? buffersBefore : null,
    buffersAfter: isNumber(buffersAfter) ? buffersAfter : null,
    buffersReason: isComplete
      ? null
      : (UNMEASURED_REASONS.find((reason) => reason === buffersReason) ?? 'failed'),
  };
}
