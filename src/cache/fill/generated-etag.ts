import { hash } from 'node:crypto';

/**
 * Generates an entity tag from a body (RFC 9110 §8.8.3): its length and 128 bits of its SHA-256. The tag is weak,
 * because the body may be sent in several encodings.
 */
export function generateEtag(body: Uint8Array): string {
  const digest = hash('sha256', body, 'base64url').slice(0, 22);
  return `W/"${body.length.toString(16)}-${digest}"`;
}
