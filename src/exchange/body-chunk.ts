type Callback = (error?: Error | null) => void;

/** Calls back as Node does: in a tick of its own. */
export function callLater(callback: unknown, error?: Error): void {
  if (typeof callback === 'function') process.nextTick(callback as Callback, error);
}

/** What `write` and `end` take as a piece of body. */
export function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || chunk instanceof Uint8Array;
}

/** Bytes of a piece of body; 0 for none. */
export function chunkLength(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk, encoding as BufferEncoding);
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}

/**
 * The bytes of a piece of body, which whoever wrote it can't change any more.
 *
 * @param isWhole it is the body: whoever keeps it need not copy it again out of a pool.
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

/** The error that Node gives for a write after the end. */
export function writeAfterEnd(): Error {
  return Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' });
}
