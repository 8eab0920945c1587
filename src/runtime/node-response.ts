import { type IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

/**
 * Why a response is not Node's own. `adapter`: another runtime (Bun, Deno), or a stand-in for a response or its socket,
 * as adapters for serverless platforms and for tests make. `patched`: someone has replaced one of its methods.
 */
export type ForeignResponse = 'adapter' | 'patched';

/** The methods that a response sent with Node's private members leaves out or relies on. */
interface OwnMethods {
  readonly setHeader: unknown;
  readonly writeHead: unknown;
  readonly write: unknown;
  readonly end: unknown;
  readonly _storeHeader: unknown;
  readonly _send: unknown;
}

/** Read when this module is loaded; a method that is patched later differs. */
const OWN = pickMethods(ServerResponse.prototype as unknown as OwnMethods);

/**
 * A name that only Node's own modules can use, from the source of each method. Where it is missing, the method was
 * patched before this module was loaded: tracing agents that are preloaded do that. The same on Node 20, 22, 24 and 26.
 */
const INTERNAL_NAMES: Readonly<Record<keyof OwnMethods, string>> = {
  setHeader: 'ERR_HTTP_HEADERS_SENT',
  writeHead: 'ERR_HTTP_HEADERS_SENT',
  write: 'write_(',
  end: 'write_(',
  _storeHeader: 'ERR_HTTP_TRAILER_INVALID',
  _send: '_headerSent',
};

const IS_NODE = process.versions.bun === undefined && process.versions.deno === undefined;
const IS_PATCHED = Object.entries(INTERNAL_NAMES).some(
  ([name, internal]) => !String(OWN[name as keyof OwnMethods]).includes(internal),
);

/**
 * Whether a response is anything but a `ServerResponse` of Node on a socket of Node, with Node's own methods. Only on
 * such a response may private members be used; on any other, `setHeader`, `writeHead`, `write` and `end`.
 *
 * The methods are compared, not the class: Express replaces the prototype, and with it the overrides of a subclass.
 *
 * @returns `undefined` for Node's own.
 */
export function findForeignResponse(req: IncomingMessage, res: ServerResponse): ForeignResponse | undefined {
  // Absent while other responses come before this one on its connection.
  const socket: unknown = res.socket ?? req.socket;
  if (!IS_NODE || !(socket instanceof Socket) || !(res instanceof ServerResponse)) return 'adapter';
  const methods = res as unknown as OwnMethods;
  const isOwn =
    !IS_PATCHED &&
    methods.end === OWN.end &&
    methods.writeHead === OWN.writeHead &&
    methods.write === OWN.write &&
    methods.setHeader === OWN.setHeader &&
    methods._storeHeader === OWN._storeHeader &&
    methods._send === OWN._send;
  return isOwn ? undefined : 'patched';
}

/** Whether a socket is one of Node; adapters have stand-ins with some of its methods. */
export function isNodeSocket(socket: unknown): socket is Socket {
  return IS_NODE && socket instanceof Socket;
}

function pickMethods({ setHeader, writeHead, write, end, _storeHeader, _send }: OwnMethods): OwnMethods {
  return { setHeader, writeHead, write, end, _storeHeader, _send };
}
