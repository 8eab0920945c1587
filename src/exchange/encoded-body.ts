/** How to encode a body that has no encoded form yet. */
export interface EncodingEffort {
  /** Level of gzip and deflate: 1 to 9, or -1. */
  readonly level: number;
  /** Quality of Brotli: 0 to 11. */
  readonly brotliQuality: number;
  /** Level of zstd: 1 to 19. */
  readonly zstdLevel: number;
  /** The share of its size, 0 to 1, that a body must lose. */
  readonly minimumGain: number;
}

/**
 * Returns the body that is about to be sent, in a content coding. The cache provides it; compression calls it.
 *
 * @returns the encoded body; `null` if it gains too little, so the unencoded one is used; `undefined` if there is none
 * yet. A call may queue a job, so call it only for the coding to send.
 */
export type EncodedBody = (coding: string, effort: EncodingEffort) => Buffer | null | undefined;
