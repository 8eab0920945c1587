import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority for the test, with a server and a few clients. */
export interface Certificates {
  readonly ca: string;
  readonly server: KeyPair;
  readonly clients: Readonly<Record<string, KeyPair>>;
}

/** Creates certificates with OpenSSL, which needs no network. */
export function makeCertificates(users: readonly string[]): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'hotpath-certificates-'));
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  try {
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      '2',
      '-subj',
      '/CN=CA',
    );
    writeFileSync(file('names'), 'subjectAltName=DNS:localhost');
    const issue = (name: string, extra: string[] = []): KeyPair => {
      openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
      const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
      openssl('x509', '-req', '-in', `${name}.csr`, ...signer, '-out', `${name}.crt`, ...extra);
      return {
        key: readFileSync(file(`${name}.key`), 'utf8'),
        cert: readFileSync(file(`${name}.crt`), 'utf8'),
      };
    };
    return {
      ca: readFileSync(file('ca.crt'), 'utf8'),
      server: issue('localhost', ['-extfile', 'names']),
      clients: Object.fromEntries(users.map((user) => [user, issue(user)])),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
