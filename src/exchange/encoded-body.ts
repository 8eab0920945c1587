/** How a body is to be encoded where it is not yet. */
export interface EncodingEffort {
  /** Of gzip and deflate: 1 to 9, or -1. */
  readonly level: number;
  /** Of Brotli: 0 to 11. */
  readonly brotliQuality: number;
  /** Of zstd: 1 to 19. */
  readonly zstdLevel: number;
  /** The share of its size, 0 to 1, that a body must lose. */
  readonly minimumGain: number;
}

/**
 * What whoever keeps bodies (the cache) offers to whoever encodes them (compression): the body that the
 * response is about to be ended with, in a content coding.
 *
 * @returns the encoded body; `null` when it is known to gain too little, so the plain one is as good;
 * `undefined` when there is none yet. It may be made for the next time, so only ask for what would be sent.
 */
export type EncodedBody = (coding: string, effort: EncodingEffort) => Buffer | null | undefined;
