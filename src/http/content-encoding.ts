/**
 * The codings of a body, in the order they were applied (RFC 9110 §8.4), in lower case, without `identity`, which
 * is no coding.
 *
 * @param header the field's value, several lines joined by commas.
 * @param most the maximum number to read, because each is a layer to decode.
 */
export function contentCodings(header: string | undefined, most = 2): string[] {
  const codings: string[] = [];
  for (const member of (header ?? '').split(',')) {
    const coding = member.trim().toLowerCase();
    if (coding === '' || coding === 'identity') continue;
    // RFC 9110 §8.4.1.3: the old name of the same coding.
    codings.push(coding === 'x-gzip' ? 'gzip' : coding);
    if (codings.length >= most) break;
  }
  return codings;
}

/** A content coding that responses can be compressed with; `'zstd'` needs Node 22.15. */
export type ContentEncoding = 'br' | 'gzip' | 'deflate' | 'zstd';
