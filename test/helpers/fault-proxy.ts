import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import { nextTurn } from './event-loop.js';

/** Faults that a proxy adds to the bytes it forwards. */
export interface Faults {
  /** Added to every chunk, in each direction. Milliseconds. */
  readonly latency?: number;
  /** Random difference from `latency`, up or down. Milliseconds. */
  readonly jitter?: number;
  /** Bytes per second, in each direction. */
  readonly bandwidth?: number;
  /** Forwards at most this many bytes at a time. */
  readonly slice?: number;
  /** `'both'`: nothing arrives on either side; `'replies'`: commands arrive, and their replies are lost. */
  readonly blackHole?: 'both' | 'replies';
}

/** A TCP proxy on its own port that adds faults to open and new connections. */
export class FaultProxy {
  readonly #server: Server;
  readonly #target: () => number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #faults: Faults = {};
  #port = 0;
  /** Accepted connections so far. */
  connections = 0;

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** @param target the target port; a function is called for each connection. */
  static async start(target: number | (() => number)): Promise<FaultProxy> {
    const proxy = new FaultProxy(typeof target === 'function' ? target : () => target);
    await proxy.#listen(0);
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  /** Open connections. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Sets the faults; `{}` ends them. Connections that lost bytes in a black hole are reset. */
  set(faults: Faults): void {
    if (this.#faults.blackHole && !faults.blackHole) this.reset();
    this.#faults = faults;
  }

  /** Resets all connections (RST). */
  reset(): void {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Resets all connections and refuses new ones. */
  async cut(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    if (closed) this.#server.close();
    this.reset();
    await closed;
  }

  /** Accepts connections again after a cut. */
  async mend(): Promise<void> {
    if (!this.#server.listening) await this.#listen(this.#port);
  }

  async stop(): Promise<void> {
    await this.cut();
  }

  async #listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    this.connections++;
    const server = dial(this.#target(), '127.0.0.1');
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
    this.#carry(
      client,
      server,
      () => this.#faults.blackHole !== undefined && this.#faults.blackHole !== 'replies',
    );
    this.#carry(server, client, () => this.#faults.blackHole !== undefined);
  }

  #carry(from: Socket, to: Socket, isLost: () => boolean): void {
    // Keeps the order of arrival, with any delays.
    let last: Promise<void> = Promise.resolve();
    from.on('data', (data: Buffer) => {
      if (isLost()) return;
      const { latency = 0, jitter = 0, bandwidth = Number.POSITIVE_INFINITY, slice } = this.#faults;
      const due = Date.now() + latency + (Math.random() * 2 - 1) * jitter;
      if (latency === 0 && bandwidth === Number.POSITIVE_INFINITY && slice === undefined) {
        last = last.then(() => write(to, data));
        return;
      }
      from.pause();
      last = last.then(async () => {
        const size = slice ?? Math.min(data.length, Math.max(1, Math.ceil(bandwidth / 50)));
        await pause(due - Date.now());
        for (let at = 0; at < data.length && !isLost() && to.writable; at += size) {
          const part = data.subarray(at, at + size);
          write(to, part);
          await pause((part.length / bandwidth) * 1000);
        }
        from.resume();
      });
      // Latency does not limit bandwidth: more chunks may be in flight.
      if (bandwidth === Number.POSITIVE_INFINITY) from.resume();
    });
  }
}

function write(to: Socket, data: Buffer): void {
  if (to.writable) to.write(data);
}

/** Waits, and uses a timer only for a real delay. */
async function pause(ms: number): Promise<void> {
  if (ms >= 1) await new Promise((resolve) => setTimeout(resolve, ms));
  else await nextTurn();
}
