import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { guarded } from './guard.js';

/** A server of `node:http`, `node:https`, `node:http2` or `node:net`. */
export interface NodeServer {
  readonly listening: boolean;
  close(done?: (error?: Error) => void): unknown;
  getConnections(done: (error: Error | null, count: number) => void): unknown;
  /** Absent on servers of HTTP/2 and of `node:net`. */
  closeIdleConnections?(): void;
  closeAllConnections?(): void;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares the listeners of its events.
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares the listeners of its events.
  once(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares the listeners of its events.
  prependListener(event: string, listener: (...args: any[]) => void): unknown;
  listenerCount(event: string): number;
}

/** A session of HTTP/2. */
export interface ServerSession {
  readonly closed: boolean;
  readonly destroyed: boolean;
  /** Sends GOAWAY, and ends after the open streams. */
  close(): void;
  destroy(): void;
  once(event: 'close', listener: () => void): unknown;
}

/** A socket, with the members that Node does not document. */
type ServerSocket = Socket & { readonly server?: unknown; readonly _httpMessage?: ServerResponse | null };

/** Node's own list of the connections that speak HTTP/1. */
interface ConnectionList {
  all(): readonly { readonly socket?: ServerSocket | null }[];
  /** Connections that are not receiving a request. They may be sending a response. */
  idle(): readonly { readonly socket?: ServerSocket | null }[];
}

/** Sessions of a server, for Node up to 22, which keeps no list. */
const SEEN_SESSIONS = Symbol.for('hotpath.sessions');

type SessionHolder = { readonly [SEEN_SESSIONS]?: Set<ServerSession> };

function hiddenMember(owner: object, description: string): unknown {
  const symbol = Object.getOwnPropertySymbols(owner).find((each) => each.description === description);
  return symbol && (owner as Record<symbol, unknown>)[symbol];
}

/** The same on Node 20, 22, 24 and 26. `undefined` on other runtimes, and without HTTP/1. */
function connectionsOf(server: object): ConnectionList | undefined {
  const list = hiddenMember(server, 'http.server.connections') as ConnectionList | undefined;
  return typeof list?.all === 'function' && typeof list.idle === 'function' ? list : undefined;
}

/** The responses of a server over HTTP/1 that are at the head of their connection and not complete. */
export function responsesInFlight(server: object): ServerResponse[] {
  return (connectionsOf(server)?.all() ?? []).flatMap(({ socket }) => socket?._httpMessage ?? []);
}

/**
 * Closes the connections that neither receive a request nor send a response.
 *
 * Node's `closeIdleConnections` also closes those that still send a response to a slow client, once the app has called
 * `end`. A download of 30 MB ended after 4 MB (measured on Node 20 to 26). Up to Node 24 it leaves those open that have
 * not sent a byte yet, as browsers open them in advance.
 *
 * @param mayClose decides about a connection that has not sent a byte yet: its request may be about to arrive.
 */
export function closeIdleConnections(server: NodeServer, mayClose: (unused: Socket) => boolean): void {
  // Before the handshake of TLS, no list of HTTP has a connection.
  for (const socket of socketsOf(server)) if (socket.bytesRead === 0 && mayClose(socket)) socket.destroy();
  const list = connectionsOf(server);
  if (!list) return server.closeIdleConnections?.();
  const idle = new Set(list.idle());
  for (const connection of list.all()) {
    const { socket } = connection;
    if (!socket || socket._httpMessage || socket.writableLength > 0) continue;
    const isUnused = socket.bytesRead === 0;
    if (isUnused ? mayClose(socket) : idle.has(connection)) socket.destroy();
  }
}

/**
 * Closes every connection: those of HTTP, and those that have changed their protocol, which Node's
 * `closeAllConnections` leaves open.
 *
 * @returns how many there were.
 */
export function destroyConnections(server: NodeServer): number {
  const sockets = socketsOf(server);
  for (const session of sessionsOf(server)) session.destroy();
  server.closeAllConnections?.();
  for (const socket of sockets) socket.destroy();
  return sockets.length;
}

/** The connections of a server, as the event loop knows them. For TLS, the connection below it. */
function socketsOf(server: NodeServer): ServerSocket[] {
  const { _getActiveHandles: read } = process as { _getActiveHandles?: () => unknown[] };
  const handles = read?.call(process) ?? [];
  return handles.filter(
    (handle): handle is ServerSocket =>
      typeof (handle as ServerSocket).destroy === 'function' && (handle as ServerSocket).server === server,
  );
}

/** Sessions of HTTP/2 that a server has open. */
export function sessionsOf(server: object): ServerSession[] {
  const own = hiddenMember(server, 'sessions') as Iterable<ServerSession> | undefined; // from Node 24 on
  const seen = (server as SessionHolder)[SEEN_SESSIONS];
  return [...new Set([...(own ?? []), ...(seen ?? [])])].filter(({ destroyed }) => !destroyed);
}

interface StreamRequest {
  readonly stream?: { readonly session?: ServerSession & { readonly socket?: { readonly server?: object } } };
}

/** The server that a request came to; `undefined` for stand-ins of requests. */
export function serverOf(req: IncomingMessage): object | undefined {
  const { server } = (req.socket ?? {}) as { server?: object };
  // The socket of a request over HTTP/2 is a proxy, which may refuse.
  return server ?? (req as StreamRequest).stream?.session?.socket?.server;
}

/** Remembers the sessions of the server that a request over HTTP/2 came to, so that `sessionsOf` finds them. */
export function noteSession(req: IncomingMessage): void {
  const session = (req as StreamRequest).stream?.session;
  const server = session?.socket?.server;
  if (session && server) remember(followSessions(server), session);
}

/**
 * Remembers the sessions that a server opens from now on, those without a request too. Up to Node 22, a session that was
 * open before, and on which no request has come, stays unknown.
 */
export function followSessions(server: object): Set<ServerSession> {
  const { [SEEN_SESSIONS]: known } = server as SessionHolder;
  if (known) return known;
  const seen = new Set<ServerSession>();
  Object.defineProperty(server, SEEN_SESSIONS, { value: seen });
  const onSession = guarded('http2 session', (session: ServerSession) => remember(seen, session));
  // Servers of HTTP/1 have no such event.
  (server as Partial<NodeServer>).on?.('session', onSession);
  return seen;
}

function remember(seen: Set<ServerSession>, session: ServerSession): void {
  if (seen.has(session)) return;
  seen.add(session);
  session.once(
    'close',
    guarded('http2 session', () => seen.delete(session)),
  );
}
