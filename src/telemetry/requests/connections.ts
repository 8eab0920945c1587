import type { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';

/** Bytes on the connections since the start, headers included. Bytes. */
export interface Traffic {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** The last reading of a socket. */
interface Counted {
  readBytes: number;
  writtenBytes: number;
}

type AcceptedSocket = Socket & { readonly server?: Server; [mark: symbol]: unknown };

/** As Node's compatible request of HTTP/2 has it. */
interface StreamedRequest {
  readonly stream?: { readonly session?: { readonly socket?: AcceptedSocket } };
}

/**
 * Follows the connections that requests come on. It listens to none of them: their byte counts are read when a request
 * ends, and the difference to the reading before is added.
 */
export class Connections {
  /** A property of its own for each instance. */
  readonly #mark = Symbol('hotpath.connection');
  readonly #servers = new Set<Server>();
  #receivedBytes = 0;
  #sentBytes = 0;
  #isClosed = false;

  /**
   * A request has ended.
   *
   * @param socket that it arrived on.
   */
  note(req: IncomingMessage, socket: Socket | null | undefined): void {
    // That of a request over HTTP/2 stands for its stream.
    const own = req.httpVersionMajor < 2 ? socket : (req as StreamedRequest).stream?.session?.socket;
    if (!own || this.#isClosed) return;
    const accepted = own as AcceptedSocket;
    const counted = (accepted[this.#mark] as Counted | undefined) ?? this.#meet(accepted);
    const { bytesRead, bytesWritten } = accepted;
    // Whatever stands in for a socket may not count.
    if (bytesRead > counted.readBytes) this.#receivedBytes += bytesRead - counted.readBytes;
    if (bytesWritten > counted.writtenBytes) this.#sentBytes += bytesWritten - counted.writtenBytes;
    counted.readBytes = bytesRead;
    counted.writtenBytes = bytesWritten;
  }

  /** Of all connections, up to the end of the last request of each. */
  get traffic(): Traffic {
    return { receivedBytes: this.#receivedBytes, sentBytes: this.#sentBytes };
  }

  /** Open connections of the servers that requests came to; idle ones count too. Never rejects. */
  async count(): Promise<number> {
    let sum = 0;
    for (const server of [...this.#servers]) {
      const connections = await countOf(server);
      sum += connections;
      if (connections === 0 && !server.listening) this.#servers.delete(server);
    }
    return sum;
  }

  /** Releases all servers. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#servers.clear();
  }

  #meet(socket: AcceptedSocket): Counted {
    const counted = { readBytes: 0, writtenBytes: 0 };
    socket[this.#mark] = counted;
    const { server } = socket;
    if (typeof server?.getConnections === 'function') this.#servers.add(server);
    return counted;
  }
}

function countOf(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.getConnections((error, count) => resolve(error ? 0 : count));
  });
}
