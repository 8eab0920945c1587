import {
  type BrotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  type Gunzip,
} from 'node:zlib';
import { guarded } from '../../runtime/guard.js';
import { ZSTD, zstdModule } from '../../runtime/zstd.js';
import { DecoderMemory } from './decoder-memory.js';
import { type InflatableCoding, windowBitsOf } from './decoder-window.js';

type Decoder = BrotliDecompress | Gunzip;

/** The events of a counter. */
export interface InflatedCounterEvents {
  /** The total number of decoded bytes; not called after `stop`. */
  grown(bytes: number): void;
  /** The body is not in the coding that it declares. */
  failed(): void;
  /** The body requests a window of 2^`bits` bytes. @returns whether that is allowed. */
  acceptsWindow(bits: number): boolean;
  /** Other bodies need the memory, and this one made no progress for too long. */
  evicted(): void;
}

/** Size of the output buffer of each decoder. Bytes. */
const PIECE = 16 * 1024;

const BUFFERS = { chunkSize: PIECE, readableHighWaterMark: PIECE };

/** @param windowBits the largest window, as a power of two; only a zstd body may ask for another one further on. */
type MakeDecoder = (first: Uint8Array, windowBits: number) => Decoder;

const DECODERS: Partial<Record<InflatableCoding, MakeDecoder>> = {
  gzip: () => createGunzip(BUFFERS),
  br: () => createBrotliDecompress(BUFFERS),
  // Some clients send deflate without the zlib wrapper (RFC 9110 §8.4.1.2), whose first byte contains the
  // method 8.
  deflate: (first) => ((first[0]! & 0x0f) === 8 ? createInflate : createInflateRaw)(BUFFERS),
  ...zstdDecoder(zstdModule),
};

function zstdDecoder(zstd: typeof zstdModule): { zstd?: MakeDecoder } {
  if (!zstd) return {};
  return {
    zstd: (_first, windowBits) =>
      zstd.createZstdDecompress({ ...BUFFERS, params: { [ZSTD.windowLogMax]: windowBits } }),
  };
}

/** Whether a coding can be decoded here. */
export function isInflatable(coding: string): coding is InflatableCoding {
  return Object.hasOwn(DECODERS, coding);
}

/** The codings that can be decoded, as a header value. */
export const INFLATABLE = Object.keys(DECODERS).join(', ');

const WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge';

interface Piece {
  readonly chunk: Uint8Array;
  readonly counted: () => void;
}

/**
 * Counts the decoded size of a coded body. It holds a piece until all its output was counted, and discards
 * the output. Pieces are as large as one read of the socket, so memory is mainly that of the decoder.
 *
 * The decoder is created by `start`. Pieces are decoded one after the other, once there is memory for the
 * whole window. A few bytes can make Brotli fill its window before any output. Between pieces, a decoder
 * holds up to its window of output.
 */
export class InflatedCounter {
  /** Bytes of pieces that are being counted or waiting. */
  heldBytes = 0;
  readonly #coding: InflatableCoding;
  readonly #memoryLimit: number;
  readonly #mostWindowBits: number;
  readonly #events: InflatedCounterEvents;
  /** Pieces to be counted; the first is being decoded, or waits for memory. */
  #pieces: Piece[] = [];
  #decoder: Decoder | undefined;
  #memory: DecoderMemory | undefined;
  /** A power of two. */
  #windowBits = 0;
  #bytes = 0;
  #isDecoding = false;
  #isStarted = false;
  #isOver = false;
  #isStopped = false;

  /**
   * @param memoryLimit bytes that the decoders of all bodies may hold together.
   * @param mostWindowBits the window that counts where a body does not tell at once how large its own is.
   */
  constructor(
    coding: InflatableCoding,
    memoryLimit: number,
    mostWindowBits: number,
    events: InflatedCounterEvents,
  ) {
    this.#coding = coding;
    this.#memoryLimit = memoryLimit;
    this.#mostWindowBits = mostWindowBits;
    this.#events = events;
  }

  /** Whether pieces are being counted or waiting. */
  get isBusy(): boolean {
    return this.#pieces.length > 0;
  }

  /** Whether pieces have arrived before the first read. */
  get isWaiting(): boolean {
    return !this.#isStarted && this.isBusy;
  }

  /**
   * @param counted called in order, once the output of the piece was counted and the piece may be passed on.
   */
  write(chunk: Uint8Array, counted: () => void): void {
    if (this.#isStopped) return;
    this.#pieces.push({ chunk, counted });
    this.heldBytes += chunk.length;
    this.#next();
  }

  /** The body has a reader: decoding starts. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#next();
  }

  /** Releases the decoder, its memory and the held pieces. */
  stop(): void {
    this.#isStopped = true;
    this.#pieces = [];
    this.heldBytes = 0;
    this.#decoder?.destroy();
    this.#memory?.release();
  }

  #next(): void {
    if (!this.#isStarted || this.#isDecoding || this.#isStopped) return;
    // Decoders ignore data after the end of the coded data.
    while (this.isBusy && (this.#isOver || this.#pieces[0]!.chunk.length === 0)) this.#release();
    const [piece] = this.#pieces;
    if (!piece || this.#isStopped) return;
    this.#isDecoding = true;
    if (!this.#memory && !this.#open(piece.chunk)) return;
    if (this.#memory!.take(2 ** this.#windowBits, () => this.#decode(piece.chunk))) this.#decode(piece.chunk);
  }

  /** @returns whether the requested window is allowed. */
  #open(first: Uint8Array): boolean {
    const bits = windowBitsOf(this.#coding, first) ?? this.#mostWindowBits;
    if (!this.#events.acceptsWindow(bits)) return false;
    this.#windowBits = bits;
    this.#memory = new DecoderMemory(this.#memoryLimit, () => this.#events.evicted());
    return true;
  }

  #decode(chunk: Uint8Array): void {
    if (this.#isStopped) return;
    this.#decoder ??= this.#makeDecoder(chunk);
    const written = guarded('size-limit', (error: Error | null | undefined) => {
      if (error || this.#isOver || this.#isStopped) return;
      this.#memory!.keep(Math.min(2 ** this.#windowBits, this.#bytes), chunk.length);
      this.#goOn();
    });
    this.#decoder.write(chunk, written);
  }

  #makeDecoder(first: Uint8Array): Decoder {
    const decoder = DECODERS[this.#coding]!(first, this.#windowBits);
    const onData = guarded('size-limit', (piece: Buffer) => {
      this.#bytes += piece.length;
      if (!this.#isStopped) this.#events.grown(this.#bytes);
    });
    decoder.on('data', onData);
    // The decoder does not call back for a piece that continues beyond the end.
    const onEnd = guarded('size-limit', () => {
      this.#isOver = true;
      this.#memory!.release();
      this.#goOn();
    });
    decoder.once('end', onEnd);
    const onError = guarded('size-limit', ({ code }: NodeJS.ErrnoException) => {
      if (this.#isStopped) return;
      // A later frame asks for more than the first one, for which there is memory.
      if (code === WINDOW_TOO_LARGE) this.#events.acceptsWindow(Number.POSITIVE_INFINITY);
      else this.#events.failed();
    });
    decoder.on('error', onError);
    return decoder;
  }

  #goOn(): void {
    this.#isDecoding = false;
    this.#release();
    this.#next();
  }

  #release(): void {
    const piece = this.#pieces.shift();
    if (!piece) return;
    this.heldBytes -= piece.chunk.length;
    piece.counted();
  }
}
