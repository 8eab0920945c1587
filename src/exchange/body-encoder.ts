/** The output of an encoder. Sends the encoded bytes to the client. */
export interface EncoderOutput {
  /** @returns false if the client reads more slowly; the response then emits `drain`. */
  write(bytes: Buffer): boolean;
  end(): void;
}

/** Encodes the body of one response. */
export interface BodyEncoder {
  /** Like `write` of a response. */
  write(chunk: string | Uint8Array, encoding: unknown, callback: unknown): boolean;
  /** Like `end` of a response. The output ends once everything is encoded. */
  end(chunk: string | Uint8Array | undefined, encoding: unknown): void;
  /** Sends the chunks written so far. */
  flush(): void;
}

/**
 * Creates an encoder at the first chunk of a body. A response without a body needs none.
 *
 * @returns `undefined` if it could not be created, and the response was destroyed.
 */
export type MakeBodyEncoder = (output: EncoderOutput) => BodyEncoder | undefined;
