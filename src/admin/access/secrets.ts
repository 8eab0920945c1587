import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const KEY = randomBytes(32);

/** A keyed digest of a secret. Digests have one length, and their bytes tell an attacker nothing. */
export function digestOf(secret: string): Buffer {
  return createHmac('sha256', KEY).update(secret).digest();
}

/** Compares two digests in constant time. */
export function isSameDigest(a: Buffer, b: Buffer): boolean {
  return timingSafeEqual(a, b);
}

/** A secret that cannot be guessed: 256 random bits, for URLs and cookies. */
export function makeSecret(): string {
  return randomBytes(32).toString('base64url');
}
