import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';

/** What a fault proxy does to the bytes that pass. */
export interface Faults {
  /** Added to every chunk, each way. Milliseconds. */
  readonly latency?: number;
  /** Up to so much more or less. Milliseconds. */
  readonly jitter?: number;
  /** Bytes a second, each way. */
  readonly bandwidth?: number;
  /** Passes on at most so many bytes at a time. */
  readonly slice?: number;
  /** `'both'`: nothing arrives anywhere; `'replies'`: what is asked is done, and nobody hears of it. */
  readonly blackHole?: 'both' | 'replies';
}

/** A TCP proxy on a port of its own that can be told to behave badly, for what is open and what comes. */
export class FaultProxy {
  readonly #server: Server;
  readonly #target: () => number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #faults: Faults = {};
  #port = 0;
  /** Connections that were taken so far. */
  connections = 0;

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** @param target the port behind it; a function is asked at each connection. */
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

  /** Connections that are open. */
  get open(): number {
    return this.#pairs.size;
  }

  /** From now on; `{}` heals. What a black hole has swallowed does not come back, so its connections are reset. */
  set(faults: Faults): void {
    if (this.#faults.blackHole && !faults.blackHole) this.reset();
    this.#faults = faults;
  }

  /** Breaks all connections (RST). */
  reset(): void {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Breaks all connections and refuses further ones. */
  async cut(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    if (closed) this.#server.close();
    this.reset();
    await closed;
  }

  /** Takes connections again after a cut. */
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
    // In the order of arrival, however the delays fall.
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
      // Latency is no loss of bandwidth: more may be on its way.
      if (bandwidth === Number.POSITIVE_INFINITY) from.resume();
    });
  }
}

function write(to: Socket, data: Buffer): void {
  if (to.writable) to.write(data);
}

/** Rests so long; longer than nothing only where it matters. */
async function pause(ms: number): Promise<void> {
  if (ms >= 1) await new Promise((resolve) => setTimeout(resolve, ms));
  else await new Promise((resolve) => setImmediate(resolve));
}
