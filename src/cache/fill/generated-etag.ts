import { createHash } from 'node:crypto';

/**
 * An entity tag made of a body (RFC 9110 §8.8.3): its length and 128 bits of its SHA-256. Weak, since the body
 * may go out in several encodings.
 */
export function generateEtag(body: Uint8Array): string {
  const digest = createHash('sha256').update(body).digest('base64url').slice(0, 22);
  return `W/"${body.length.toString(16)}-${digest}"`;
}
