import { Redis } from 'ioredis';
import { type RedisServer, until } from './redis.js';

/** The names of the commands that a Redis is asked, those inside scripts included, in upper case. */
export class RedisMonitor {
  readonly names: string[] = [];
  readonly #server: RedisServer;
  #disconnect = () => {};

  private constructor(server: RedisServer) {
    this.#server = server;
  }

  static async start(server: RedisServer): Promise<RedisMonitor> {
    const made = new RedisMonitor(server);
    const client = new Redis(server.url);
    const monitor = await client.monitor();
    monitor.on('monitor', (_time: string, args: string[]) => made.names.push(args[0]!.toUpperCase()));
    made.#disconnect = () => {
      monitor.disconnect();
      client.disconnect();
    };
    return made;
  }

  /** Resolves when everything that was asked until now is in `names`. */
  async caughtUp(): Promise<void> {
    const mark = this.names.filter((name) => name === 'ECHO').length;
    await this.#server.command('ECHO', 'mark');
    await until(() => this.names.filter((name) => name === 'ECHO').length > mark, 'the monitor has seen all');
  }

  close(): void {
    this.#disconnect();
  }
}
