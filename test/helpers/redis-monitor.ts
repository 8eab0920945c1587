import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { type RedisServer, until } from './redis.js';

/** One line of `MONITOR`: time, database and client, then the command's words, quoted. */
const COMMAND = /^\+[\d.]+ \[\d+ \S+\] "([^"]*)"/;

/**
 * The names of the commands that a Redis receives, in upper case, including those inside scripts.
 *
 * It uses its own socket: ioredis takes lines that arrive with the reply to `MONITOR` for replies as well.
 */
export class RedisMonitor {
  readonly names: string[] = [];
  readonly #server: RedisServer;
  readonly #socket: Socket;

  private constructor(server: RedisServer) {
    this.#server = server;
    this.#socket = connect(server.port, '127.0.0.1');
  }

  static async start(server: RedisServer): Promise<RedisMonitor> {
    const made = new RedisMonitor(server);
    const lines = createInterface(made.#socket);
    const started = once(lines, 'line');
    lines.on('line', (line) => {
      const [, name] = COMMAND.exec(line) ?? [];
      if (name !== undefined) made.names.push(name.toUpperCase());
    });
    made.#socket.write('MONITOR\r\n');
    const [answer] = await started;
    if (answer !== '+OK') throw new Error(`MONITOR: ${answer}`);
    return made;
  }

  /** Resolves when all commands sent so far are in `names`. */
  async caughtUp(): Promise<void> {
    const mark = this.names.filter((name) => name === 'ECHO').length;
    await this.#server.command('ECHO', 'mark');
    await until(() => this.names.filter((name) => name === 'ECHO').length > mark, 'the monitor has seen all');
  }

  close(): void {
    this.#socket.destroy();
  }
}
