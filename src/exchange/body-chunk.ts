type Callback = (error?: Error | null) => void;

/** Calls the callback in a later tick, as Node does. */
export function callLater(callback: unknown, error?: Error): void {
  if (typeof callback === 'function') process.nextTick(callback as Callback, error);
}

/** Whether `write` and `end` accept the value as a chunk. */
export function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || chunk instanceof Uint8Array;
}

/** Length of a chunk; 0 for none. Bytes. */
export function chunkLength(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk, encoding as BufferEncoding);
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}

/**
 * Copies a chunk, so that its writer can't change the bytes later.
 *
 * @param isWhole the chunk is the whole body. It gets memory of its own, so that storing it needs no second copy.
 */
export function copyChunk(
  chunk: string | Uint8Array,
  encoding: unknown,
  length: number,
  isWhole: boolean,
): Buffer {
  const isText = typeof chunk === 'string';
  if (!isWhole) return isText ? Buffer.from(chunk, encoding as BufferEncoding) : Buffer.from(chunk);
  const bytes = Buffer.allocUnsafeSlow(length);
  if (isText) bytes.write(chunk, encoding as BufferEncoding);
  else bytes.set(chunk);
  return bytes;
}

/** The error that Node returns for a write after the end. */
export function writeAfterEnd(): Error {
  return Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' });
}
