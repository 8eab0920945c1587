import {
  type BrotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  type Gunzip,
} from 'node:zlib';
import { guarded } from '../../runtime/guard.js';
import { DecoderMemory } from './decoder-memory.js';

type Decoder = BrotliDecompress | Gunzip;

/** A content coding that can be taken off. */
export type InflatableCoding = 'gzip' | 'deflate' | 'br';

/** What comes of counting. */
export interface InflatedCounterEvents {
  /** So many bytes have come out in all; after `stop` not any more. */
  grown(bytes: number): void;
  /** What comes is not in the coding that it names. */
  failed(): void;
  /** The body asks for a window of 2 to the power of so many bits. @returns whether it may have it. */
  acceptsWindow(bits: number): boolean;
  /** Other bodies need the memory, and this one has made no progress for too long. */
  evicted(): void;
}

/** Bytes that come out of a decoder at a time. Each decoder has a buffer of that size, however slow its client. */
const PIECE = 16 * 1024;

const BUFFERS = { chunkSize: PIECE, readableHighWaterMark: PIECE };

const DECODERS: Record<InflatableCoding, (first: Uint8Array) => Decoder> = {
  gzip: () => createGunzip(BUFFERS),
  br: () => createBrotliDecompress(BUFFERS),
  // RFC 9110 §8.4.1.2: some send it without the zlib wrapper, whose first byte names the method 8.
  deflate: (first) => ((first[0]! & 0x0f) === 8 ? createInflate : createInflateRaw)(BUFFERS),
};

/** Whether a coding can be taken off here. */
export function isInflatable(coding: string): coding is InflatableCoding {
  return Object.hasOwn(DECODERS, coding);
}

/** The codings that can be taken off, as a header's value. */
export const INFLATABLE = Object.keys(DECODERS).join(', ');

/** The window of gzip and deflate is never larger (RFC 1951 §2). */
const DEFLATE_WINDOW_BITS = 15;

/**
 * The window that a body asks for, from its first byte: 2 to the power of so many bits (RFC 7932 §9.1).
 * A large window, which is no part of the standard, is an error to the decoder.
 */
function windowBitsOf(coding: InflatableCoding, first: number): number {
  if (coding !== 'br') return DEFLATE_WINDOW_BITS;
  if ((first & 1) === 0) return 16;
  const high = (first >> 1) & 7;
  if (high !== 0) return 17 + high;
  const low = (first >> 4) & 7;
  return low === 0 ? 17 : 8 + low;
}

interface Piece {
  readonly chunk: Uint8Array;
  readonly counted: () => void;
}

/**
 * Counts what a coded body grows to. It holds a piece until all that comes out of it was counted, and keeps
 * nothing of what comes out: pieces are as large as one reading of the socket, and memory is that of the decoder.
 *
 * There is no decoder before `start`. One piece after the other is decoded, once there is memory for the whole window:
 * Brotli may fill it for a few bytes, before anything comes out. Between pieces a decoder holds what has come out,
 * up to its window.
 */
export class InflatedCounter {
  /** Of pieces that are being counted, or wait for it. */
  heldBytes = 0;
  readonly #coding: InflatableCoding;
  readonly #memoryLimit: number;
  readonly #events: InflatedCounterEvents;
  /** Pieces to be counted; the first is being decoded, or waits for memory. */
  #pieces: Piece[] = [];
  #decoder: Decoder | undefined;
  #memory: DecoderMemory | undefined;
  /** Bytes. */
  #window = 0;
  #bytes = 0;
  #isDecoding = false;
  #isStarted = false;
  #isOver = false;
  #isStopped = false;

  /** @param memoryLimit bytes that the decoders of all bodies may hold together. */
  constructor(coding: InflatableCoding, memoryLimit: number, events: InflatedCounterEvents) {
    this.#coding = coding;
    this.#memoryLimit = memoryLimit;
    this.#events = events;
  }

  /** Pieces are being counted, or wait for it. */
  get isBusy(): boolean {
    return this.#pieces.length > 0;
  }

  /** Pieces have come, and nobody has read so far. */
  get isWaiting(): boolean {
    return !this.#isStarted && this.isBusy;
  }

  /** @param counted called when all that comes out of the piece was counted and may go on; in order. */
  write(chunk: Uint8Array, counted: () => void): void {
    if (this.#isStopped) return;
    this.#pieces.push({ chunk, counted });
    this.heldBytes += chunk.length;
    this.#next();
  }

  /** The body is being read: from now on it is decoded. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#next();
  }

  /** Lets go of the decoder, of its memory and of what is held. */
  stop(): void {
    this.#isStopped = true;
    this.#pieces = [];
    this.heldBytes = 0;
    this.#decoder?.destroy();
    this.#memory?.release();
  }

  #next(): void {
    if (!this.#isStarted || this.#isDecoding || this.#isStopped) return;
    // Decoders leave alone what follows the end of the coded data.
    while (this.isBusy && (this.#isOver || this.#pieces[0]!.chunk.length === 0)) this.#release();
    const [piece] = this.#pieces;
    if (!piece || this.#isStopped) return;
    this.#isDecoding = true;
    if (!this.#memory && !this.#open(piece.chunk)) return;
    if (this.#memory!.take(this.#window, () => this.#decode(piece.chunk))) this.#decode(piece.chunk);
  }

  /** @returns whether the window may be as large as the body asks for. */
  #open(first: Uint8Array): boolean {
    const bits = windowBitsOf(this.#coding, first[0]!);
    if (!this.#events.acceptsWindow(bits)) return false;
    this.#window = 2 ** bits;
    this.#memory = new DecoderMemory(this.#memoryLimit, () => this.#events.evicted());
    return true;
  }

  #decode(chunk: Uint8Array): void {
    if (this.#isStopped) return;
    this.#decoder ??= this.#makeDecoder(chunk);
    const written = guarded('size-limit', (error: Error | null | undefined) => {
      if (error || this.#isOver || this.#isStopped) return;
      this.#memory!.keep(Math.min(this.#window, this.#bytes), chunk.length);
      this.#goOn();
    });
    this.#decoder.write(chunk, written);
  }

  #makeDecoder(first: Uint8Array): Decoder {
    const decoder = DECODERS[this.#coding](first);
    const onData = guarded('size-limit', (piece: Buffer) => {
      this.#bytes += piece.length;
      if (!this.#isStopped) this.#events.grown(this.#bytes);
    });
    decoder.on('data', onData);
    // It calls nobody back for a piece that goes on beyond the end.
    const onEnd = guarded('size-limit', () => {
      this.#isOver = true;
      this.#memory!.release();
      this.#goOn();
    });
    decoder.once('end', onEnd);
    const onError = guarded('size-limit', () => {
      if (!this.#isStopped) this.#events.failed();
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
