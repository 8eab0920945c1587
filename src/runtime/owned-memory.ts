/** A body may keep unrelated memory alive, up to its own length divided by this. That memory is counted. */
const TOLERATED = 4;

/**
 * Joins chunks into a buffer that keeps no other memory alive. Buffers are often views of a pool, or of a
 * larger buffer of a socket or compressor. Keeping a view would keep all of it.
 */
export function copyToOwnMemory(...chunks: readonly Buffer[]): Buffer {
  const [first] = chunks;
  if (chunks.length === 1 && first && isOwn(first)) return first;
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const whole = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(whole, at);
  return whole;
}

/** Bytes that become free when the body is released. */
export function bytesHeldBy(body: Buffer): number {
  return isOwn(body) ? body.buffer.byteLength : body.length;
}

function isOwn({ buffer, length }: Buffer): boolean {
  return buffer.byteLength - length <= length / TOLERATED;
}

/**
 * A copy of a text that keeps no other memory alive. In V8, a slice keeps its source alive, and a
 * concatenation keeps its parts.
 */
export function copyText(text: string): string {
  return text.length < 2 ? text : [text.slice(0, 1), text.slice(1)].join('');
}
