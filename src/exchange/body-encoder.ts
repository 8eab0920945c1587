/** The methods beneath an encoder: what it has made goes to the client through them. */
export interface EncoderOutput {
  /** @returns false where the client reads more slowly than that; `drain` of the response follows. */
  write(bytes: Buffer): boolean;
  end(): void;
}

/** Encodes the body of one response on its way to the client. */
export interface BodyEncoder {
  /** As `write` of a response. */
  write(chunk: string | Uint8Array, encoding: unknown, callback: unknown): boolean;
  /** As `end` of a response; the output ends once everything is encoded. */
  end(chunk: string | Uint8Array | undefined, encoding: unknown): void;
  /** Sends what was written so far. */
  flush(): void;
}

/**
 * Makes an encoder when the first bytes of a body come: a response without a body needs none.
 *
 * @returns `undefined` where it could not be made, and the response was destroyed.
 */
export type MakeBodyEncoder = (output: EncoderOutput) => BodyEncoder | undefined;
