import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { hasQueuedResponses } from '../../exchange/connection.js';
import { guarded } from '../../runtime/guard.js';
import {
  closeIdleConnections,
  followSessions,
  type NodeServer,
  responsesInFlight,
  sessionsOf,
} from '../../runtime/server-connections.js';

/** Between two looks for idle connections. Milliseconds. */
const SWEEP = 50;

/** How long a connection without a byte may stay: a client that has just connected sends its request. Milliseconds. */
const UNUSED = 500;

/** The last response of a connection, which says that it closes. */
interface LastResponse {
  readonly res: ServerResponse;
  /** Whether the connection would have stayed open otherwise. */
  readonly wasKept: boolean;
}

/** A server that closes once its responses are sent. */
export class ClosingServer {
  readonly server: NodeServer;
  /** Resolves when the server has closed and its connections have ended. */
  readonly closed: Promise<void>;
  readonly #last = new WeakMap<Socket, LastResponse>();
  /** When each unused connection was seen first. Milliseconds. */
  readonly #unusedSince = new WeakMap<Socket, number>();
  #sweeps: NodeJS.Timeout | undefined;
  #settle: () => void = () => {};

  constructor(server: NodeServer) {
    this.server = server;
    followSessions(server);
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** Stops to accept connections. Every response from now on is the last one of its connection. */
  close(): void {
    const { server } = this;
    server.on('close', guarded('shutdown', this.#settle));
    server.prependListener('request', this.#onRequest);
    // A server with a listener for these expects the app to answer them.
    for (const event of ['checkContinue', 'checkExpectation']) {
      if (server.listenerCount(event) > 0) server.prependListener(event, this.#onRequest);
    }
    // `listen` may be waiting for a name or for the primary of a cluster; `close` does not cancel that.
    if (!server.listening)
      server.once(
        'listening',
        guarded('shutdown', () => this.#stopListening()),
      );
    this.#stopListening();
    for (const session of sessionsOf(server)) session.close();
    this.#sweep();
    this.#sweeps = setInterval(this.#sweep, SWEEP).unref();
  }

  /** Open connections; 0 if they cannot be counted. Never rejects. */
  count(): Promise<number> {
    return new Promise((resolve) => {
      this.server.getConnections((error, count) => resolve(error ? 0 : count));
    });
  }

  /** Stops to look for idle connections. */
  release(): void {
    clearInterval(this.#sweeps);
  }

  readonly #onRequest = guarded('shutdown', (req: IncomingMessage, res: ServerResponse): void => {
    if (req.httpVersionMajor > 1) return; // GOAWAY has told the client
    const before = this.#last.get(req.socket);
    // Of pipelined requests, the last response closes the connection: Node drops those that would come after.
    if (before?.wasKept && !before.res.headersSent) before.res.shouldKeepAlive = true;
    this.#closeAfter(res, req.socket);
  });

  #closeAfter(res: ServerResponse, socket: Socket): void {
    this.#last.set(socket, { res, wasKept: res.shouldKeepAlive });
    // Without a header field, so that the front door can still send its prepared heads.
    res.shouldKeepAlive = false;
  }

  readonly #sweep = guarded('shutdown', (): void => {
    const { server } = this;
    for (const res of responsesInFlight(server)) {
      const { socket } = res;
      if (!socket || res.headersSent || this.#last.has(socket) || hasQueuedResponses(socket)) continue;
      this.#closeAfter(res, socket);
    }
    closeIdleConnections(server, this.#mayClose);
    if (server.listening) return;
    // Where someone else has closed the server before, there may be no event any more.
    server.getConnections(
      guarded('shutdown', (error: Error | null, count: number) => {
        if (!error && count === 0) this.#settle();
      }),
    );
  });

  readonly #mayClose = (unused: Socket): boolean => {
    const now = performance.now();
    const since = this.#unusedSince.get(unused) ?? now;
    this.#unusedSince.set(unused, since);
    return now - since >= UNUSED;
  };

  /** Node's `close` cuts responses that are still being sent to slow clients; this does not. */
  #stopListening(): void {
    const { server } = this;
    if (!server.listening) return;
    if (typeof server.closeIdleConnections !== 'function') {
      server.close();
      return;
    }
    const own = Object.getOwnPropertyDescriptor(server, 'closeIdleConnections');
    try {
      server.closeIdleConnections = () => {};
      server.close();
    } finally {
      delete server.closeIdleConnections;
      if (own) Object.defineProperty(server, 'closeIdleConnections', own);
    }
  }
}
