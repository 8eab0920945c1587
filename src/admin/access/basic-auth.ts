import type { IncomingMessage } from 'node:http';
import * as v from 'valibot';
import { addressOf } from '../../middleware/client-address.js';
import { describeSecret } from '../../options/format-value.js';
import { leaf, mapOf, resolve, section } from '../../options/schema.js';
import type { ValidationResult } from '../../options/validation-result.js';
import type { Authorize } from './authorize.js';
import { FailureLimit } from './failure-limit.js';
import { digestOf, isSameDigest } from './secrets.js';

/** Options of `basicAuth`. */
export interface BasicAuthOptions {
  /** Passwords by user name. */
  users: Readonly<Record<string, string>>;
  /** The name that browsers show when they ask for the password. Default: `'performance'`. */
  realm?: string | undefined;
}

const basicAuthSchema = section({
  users: v.optional(mapOf(readUser, leaf(readPassword, describeSecret), 'user names'), {}),
  realm: v.optional(leaf(readRealm), 'performance'),
});

/**
 * An `authorize` function for HTTP Basic authentication (RFC 7617). Names and passwords are compared in constant time.
 * Serve the API over TLS: the password is sent with each request.
 *
 * Failed attempts are limited: 10 of one address at once and per minute, and 100 of all addresses that have not signed
 * in before. Further requests are refused with a 429 and `Retry-After`, whatever their password. The address is
 * `req.ip`, so behind a proxy it takes the app's `trust proxy`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` without a user, for an empty password, or a name with a colon.
 */
export function basicAuth(options: BasicAuthOptions): Authorize {
  const { users, realm } = resolve(basicAuthSchema, options, 'basicAuth');
  const accepted = Object.entries(users).map(([name, password]) => digestOf(plain(`${name}:${password}`)));
  if (accepted.length === 0) resolve(noUser, users, 'basicAuth.users');
  const limit = new FailureLimit();
  const authorize = (req: IncomingMessage): boolean => {
    const credentials = readCredentials(req.headers.authorization);
    // As browsers begin; nothing was guessed.
    if (credentials === undefined) return false;
    const address = addressOf(req, req.socket);
    if (limit.secondsToWait(address) > 0) return false;
    const given = digestOf(credentials);
    // No early end: the time must not tell which user exists.
    let isKnown = false;
    for (const digest of accepted) isKnown = isSameDigest(digest, given) || isKnown;
    if (isKnown) limit.succeeded(address);
    else limit.failed(address);
    return isKnown;
  };
  return Object.assign(authorize, {
    challenge: `Basic realm="${realm}", charset="UTF-8"`,
    secondsToWait: (req: IncomingMessage) => limit.secondsToWait(addressOf(req, req.socket)),
  });
}

const noUser = leaf<never>(() => ({ expected: 'at least one user' }));

/** `name:password` of the header; `undefined` for any other scheme. */
function readCredentials(header: string | undefined): string | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header ?? '')?.[1];
  return encoded === undefined ? undefined : plain(Buffer.from(encoded, 'base64').toString('utf8'));
}

/** Keyboards send an accented letter as one character or as two (RFC 7617 §2.1). */
function plain(text: string): string {
  return text.normalize('NFC');
}

function readUser(input: unknown): ValidationResult<string> {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
  return typeof input === 'string' && /^[^:\u0000-\u001f\u007f]+$/.test(input)
    ? { value: input }
    : { expected: 'a user name that is not empty, without colons and control characters' };
}

function readPassword(input: unknown): ValidationResult<string> {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
  return typeof input === 'string' && /^[^\u0000-\u001f\u007f]+$/.test(input)
    ? { value: input }
    : { expected: 'a password that is not empty, without control characters' };
}

function readRealm(input: unknown): ValidationResult<string> {
  return typeof input === 'string' && /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,100}$/.test(input)
    ? { value: input }
    : { expected: 'printable ASCII without quotes and backslashes, at most 100 characters' };
}
