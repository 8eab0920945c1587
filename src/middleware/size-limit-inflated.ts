import {
  type BrotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  type Gunzip,
} from 'node:zlib';

type Decoder = BrotliDecompress | Gunzip;

/** A content coding that can be taken off. */
export type InflatableCoding = 'gzip' | 'deflate' | 'br';

/** What comes of counting. */
export interface InflatedCounterEvents {
  /** So many bytes have come out in all; after `stop` not any more. */
  grown(bytes: number): void;
  /** What comes is not in the coding that it names. */
  failed(): void;
}

/** Bytes that come out of a decoder at a time. Each decoder has a buffer of that size, however slow its client. */
const PIECE = 16 * 1024;

const DECODERS: Record<InflatableCoding, (first: Uint8Array) => Decoder> = {
  gzip: () => createGunzip({ chunkSize: PIECE }),
  br: () => createBrotliDecompress({ chunkSize: PIECE }),
  // RFC 9110 §8.4.1.2: some send it without the zlib wrapper, whose first byte names the method 8.
  deflate: (first) => ((first[0]! & 0x0f) === 8 ? createInflate : createInflateRaw)({ chunkSize: PIECE }),
};

/** Whether a coding can be taken off here. */
export function isInflatable(coding: string): coding is InflatableCoding {
  return Object.hasOwn(DECODERS, coding);
}

/** The codings that can be taken off, as a header's value. */
export const INFLATABLE = Object.keys(DECODERS).join(', ');

/**
 * Counts what a coded body grows to. It holds a piece until all that comes out of it was counted, and keeps
 * nothing of what comes out: pieces are as large as one reading of the socket, and memory is that of the decoder.
 */
export class InflatedCounter {
  readonly #coding: InflatableCoding;
  readonly #events: InflatedCounterEvents;
  #decoder: Decoder | undefined;
  #held: (() => void)[] = [];
  #bytes = 0;
  #isOver = false;
  #isStopped = false;

  constructor(coding: InflatableCoding, events: InflatedCounterEvents) {
    this.#coding = coding;
    this.#events = events;
  }

  /** Pieces are being counted. */
  get isBusy(): boolean {
    return this.#held.length > 0;
  }

  /** @param counted called when all that comes out of the piece was counted and may go on; in order. */
  write(chunk: Uint8Array, counted: () => void): void {
    if (this.#isStopped) return;
    // Decoders leave alone what follows the end of the coded data.
    if (this.#isOver || chunk.length === 0) {
      counted();
      return;
    }
    this.#held.push(counted);
    this.#decoder ??= this.#start(chunk);
    this.#decoder.write(chunk, (error) => {
      if (!error && !this.#isOver) this.#release(1);
    });
  }

  /** Lets go of the decoder and of what is held. */
  stop(): void {
    this.#isStopped = true;
    this.#held = [];
    this.#decoder?.destroy();
  }

  #start(first: Uint8Array): Decoder {
    const decoder = DECODERS[this.#coding](first);
    decoder.on('data', (piece: Buffer) => {
      this.#bytes += piece.length;
      if (!this.#isStopped) this.#events.grown(this.#bytes);
    });
    // It calls nobody back for a piece that goes on beyond the end.
    decoder.once('end', () => {
      this.#isOver = true;
      this.#release(this.#held.length);
    });
    decoder.on('error', () => {
      if (!this.#isStopped) this.#events.failed();
    });
    return decoder;
  }

  #release(count: number): void {
    for (let left = count; left > 0; left--) this.#held.shift()?.();
  }
}
