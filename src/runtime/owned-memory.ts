/** Of memory that a body may keep alive besides its own: one part in so many of its length. It is counted. */
const TOLERATED = 4;

/**
 * Chunks as one buffer that keeps no memory alive but its own. Small buffers are usually cut from a pool, others
 * from what a socket or a compressor has filled, and one that is kept would keep all of it.
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

/** Bytes that go once nobody has the body any more. */
export function bytesHeldBy(body: Buffer): number {
  return isOwn(body) ? body.buffer.byteLength : body.length;
}

function isOwn({ buffer, length }: Buffer): boolean {
  return buffer.byteLength - length <= length / TOLERATED;
}

/**
 * The same text in memory of its own: one that was cut out of another keeps that alive, and one that was added up
 * its parts.
 */
export function copyText(text: string): string {
  return text.length < 2 ? text : [text.slice(0, 1), text.slice(1)].join('');
}
