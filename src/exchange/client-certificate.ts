import type { IncomingMessage } from 'node:http';
import { guarded } from '../runtime/guard.js';

/** The name under which `cache.credentials` lists the certificate that a client presents. */
export const CLIENT_CERTIFICATE = 'client-certificate';

/** Remembers the result per connection: reading a certificate from OpenSSL takes microseconds. */
const HAS_CERTIFICATE = Symbol('hotpath.client-certificate');

interface TlsSocket {
  readonly encrypted?: boolean;
  getPeerCertificate?: () => object | undefined;
  once?: (event: 'secure', listener: () => void) => unknown;
  [HAS_CERTIFICATE]?: boolean | undefined;
}

/**
 * Whether the client has presented a certificate: to this server, or to a proxy that sends `Client-Cert` (RFC 9440). A
 * certificate that the server did not verify counts too, because the handler may read it.
 */
export function hasClientCertificate(req: IncomingMessage): boolean {
  if (req.headers['client-cert'] !== undefined) return true;
  const socket = req.socket as unknown as TlsSocket | undefined;
  if (!socket?.encrypted || typeof socket.getPeerCertificate !== 'function') return false;
  return socket[HAS_CERTIFICATE] ?? readCertificate(socket);
}

function readCertificate(socket: TlsSocket): boolean {
  const certificate = socket.getPeerCertificate?.();
  const isFound = certificate !== undefined && certificate !== null && Object.keys(certificate).length > 0;
  socket[HAS_CERTIFICATE] = isFound;
  // TLS 1.2 can request a certificate later, in a new handshake.
  const forget = guarded('client certificate', () => {
    socket[HAS_CERTIFICATE] = undefined;
  });
  if (!isFound) socket.once?.('secure', forget);
  return isFound;
}
