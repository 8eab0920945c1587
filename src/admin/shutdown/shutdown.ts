import { performance } from 'node:perf_hooks';
import { configError } from '../../options/errors.js';
import { formatValue } from '../../options/format-value.js';
import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { destroyConnections, type NodeServer } from '../../runtime/server-connections.js';
import { sleep } from '../../runtime/sleep.js';
import { ClosingServer } from './closing-server.js';
import { resolveShutdown, type ShutdownOptions, type ShutdownSettings } from './options.js';
import { type ShutdownState, type ShutdownSummary, shutdownStateOf } from './shutdown-state.js';

/** How long `perf.close()` may take. Milliseconds. */
const CLOSE_LIMIT = 5000;

/** How long cut connections may take to go. Milliseconds. */
const CUT_LIMIT = 1000;

/**
 * Ends servers without losing a request. It installs no signal handlers: call it from those of the app.
 *
 * 1. `/readyz` says 503, while the servers still accept requests, for `unreadyFor`.
 * 2. The servers stop to accept. Every response over HTTP/1 says `Connection: close`, hits at the front door too.
 *    Sessions of HTTP/2 get GOAWAY. Responses of `endOnShutdown` end. Idle connections close.
 * 3. At `deadline`, from the call on, all remaining connections are cut, WebSockets among them.
 * 4. `perf` is closed.
 *
 * Its timers do not keep the process alive. A second call for the same server returns the same promise.
 *
 * @param servers of `node:http`, `node:https` or `node:http2`.
 * @returns (rejects only with) HotpathError `HOTPATH_CONFIG_INVALID` for invalid arguments.
 */
export function shutdown(
  servers: NodeServer | readonly NodeServer[],
  options?: ShutdownOptions,
): Promise<ShutdownSummary> {
  try {
    const list = readServers(servers);
    const settings = resolveShutdown(options);
    const known = new Set(list.map((server) => shutdownStateOf(server).result));
    const [first] = known;
    if (known.size === 1 && first) return first;
    const begun = [...known].filter((each) => each !== undefined);
    const fresh = list.filter((server) => !shutdownStateOf(server).result);
    const result = new Shutdown(fresh, settings).run(begun);
    for (const server of fresh) shutdownStateOf(server).result = result;
    return result;
  } catch (error) {
    return Promise.reject(error);
  }
}

class Shutdown {
  readonly #startedAt = performance.now();
  readonly #servers: readonly ClosingServer[];
  readonly #settings: ShutdownSettings;
  #endedStreams = 0;

  constructor(servers: readonly NodeServer[], settings: ShutdownSettings) {
    this.#servers = servers.map((server) => new ClosingServer(server));
    this.#settings = settings;
  }

  /** @param others shutdowns of further servers of the call, which had begun before. */
  async run(others: readonly Promise<ShutdownSummary>[]): Promise<ShutdownSummary> {
    const { unreadyFor, perf, health } = this.#settings;
    for (const state of this.#states(perf, health)) state.reason ??= 'shutting down';
    if (this.#servers.some(({ server }) => server.listening)) await this.#pause(unreadyFor * 1000);
    for (const server of this.#servers) server.close();
    this.#endStreams();
    this.#callHook();
    let cutConnections = 0;
    if (!(await this.#closedBy(this.#leftMs))) {
      for (const { server } of this.#servers) cutConnections += destroyConnections(server);
      await this.#closedBy(CUT_LIMIT);
    }
    await Promise.all(others);
    const openConnections = await this.#countConnections();
    for (const server of this.#servers) server.release();
    if (perf) await this.#closeInstance(perf);
    return {
      seconds: (performance.now() - this.#startedAt) / 1000,
      isComplete: cutConnections === 0,
      cutConnections,
      endedStreams: this.#endedStreams,
      openConnections,
    };
  }

  #states(...owners: readonly (object | undefined)[]): ShutdownState[] {
    const servers = this.#servers.map(({ server }) => server);
    return [...servers, ...owners].flatMap((owner) => (owner ? shutdownStateOf(owner) : []));
  }

  get #leftMs(): number {
    return Math.max(0, this.#settings.deadline * 1000 - (performance.now() - this.#startedAt));
  }

  #pause(milliseconds: number): Promise<void> {
    return sleep(Math.min(milliseconds, this.#leftMs));
  }

  /** @returns whether all servers have closed in time. */
  async #closedBy(milliseconds: number): Promise<boolean> {
    const closed = Promise.all(this.#servers.map((server) => server.closed)).then(() => true);
    return Promise.race([closed, sleep(milliseconds).then(() => false)]);
  }

  #endStreams(): void {
    for (const state of this.#states()) {
      state.isEnding = true;
      this.#endedStreams += state.endings.size;
      for (const end of [...state.endings]) end();
      state.endings.clear();
    }
  }

  #callHook(): void {
    const { onClosing } = this.#settings;
    if (!onClosing) return;
    try {
      void unawaited(onClosing(), 'shutdown.onClosing');
    } catch (error) {
      reportFault('shutdown.onClosing', error);
    }
  }

  async #countConnections(): Promise<number> {
    const counts = await Promise.all(this.#servers.map((server) => server.count()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #closeInstance(perf: NonNullable<ShutdownSettings['perf']>): Promise<void> {
    try {
      await Promise.race([perf.close(), sleep(CLOSE_LIMIT)]);
    } catch (error) {
      reportFault('shutdown', error);
    }
  }
}

function readServers(input: NodeServer | readonly NodeServer[]): readonly NodeServer[] {
  const list = [...new Set([input].flat())] as readonly NodeServer[];
  const wrong = list.find((each) => typeof (each as NodeServer | undefined)?.getConnections !== 'function');
  if (list.length > 0 && wrong === undefined && !list.includes(undefined as never)) return list;
  const message = 'expected a server of node:http, such as app.listen() returns, or a list of them';
  throw configError([{ path: 'shutdown(servers)', message, received: formatValue(wrong ?? input) }]);
}
