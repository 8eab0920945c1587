import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { ResponseCache } from 'hotpath/cache';
import type { Registry } from 'prom-client';
import { afterAll, afterEach, beforeEach, expect } from 'vitest';
import { ask, type Got } from './client.js';
import { nextTurn } from './event-loop.js';
import { waitFor } from './http.js';

/** An app that is checked after a test and then closed. */
export interface Watched {
  readonly port: number;
  readonly server: Server;
  readonly caches?: readonly ResponseCache[];
  readonly registries?: readonly Registry[];
  /** The same app without hotpath, after the same requests: it shows what Node itself leaves on a socket. */
  readonly plain?: Server;
  /** The state of the sockets of that app at its requests, because a test of the same app may not repeat them. */
  readonly remembered?: { traces?: readonly string[] } | undefined;
  close(): Promise<void>;
}

/** Limits of I-BOUND, far above the needs of a test and far below a leak. */
export interface Ceilings {
  entries: number;
  bytes: number;
  series: number;
}

/** The invariants of a test file. */
export interface Invariants {
  /** Checks the invariants of an app after the test. */
  watch(watched: Watched): void;
  /** A text unique to this user, for response bodies. No other user may receive it. */
  canary(user: string): string;
  /** Records a response and its user. */
  saw(got: Got, user: string | undefined): void;
}

const CEILINGS: Ceilings = { entries: 10_000, bytes: 64 * 1024 ** 2, series: 200 };
const RESOURCES = ['TCPServerWrap', 'TCPSocketWrap', 'PipeWrap', 'Timeout', 'Immediate', 'Zlib'];

/**
 * Checks invariants after every test of a file. It calls `expect`, which is slow, only to report a failure.
 * `I-SAME` and `I-FAILOPEN` are checked where responses are compared.
 * `I-BUDGET` needs a second tier that can be slow. The invariants here:
 *
 * - `I-ALIVE`: no uncaught error, no unhandled rejection, and every app still answers `/health`;
 * - `I-CANARY`: no response held the canary of another user;
 * - `I-BOUND`: stores, pending fills and metric series are below their limits. No request is still counted as in
 *   progress. An idle connection has the listeners and methods that it has without hotpath.
 * - `I-EXIT`: nothing is open after close.
 */
export function invariants(ceilings: Partial<Ceilings> = {}): Invariants {
  const limits = { ...CEILINGS, ...ceilings };
  const watched: Watched[] = [];
  const sockets = new Map<Server, Set<Socket>>();
  const canaries = new Map<string, string>();
  const seen: { got: Got; user: string | undefined }[] = [];
  const unexpected: unknown[] = [];
  const note = (error: unknown) => unexpected.push(error);
  process.on('uncaughtException', note);
  process.on('unhandledRejection', note);
  let before: Record<string, number> = {};

  const follow = (server: Server) => {
    const open = new Set<Socket>();
    sockets.set(server, open);
    server.on('connection', (socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    });
  };

  beforeEach(() => {
    before = resources();
  });

  afterEach(async () => {
    try {
      for (const each of watched) {
        const { plain, remembered = {} } = each;
        if (plain) {
          // Without hotpath all connections may be closed. Then there is nothing to compare.
          const now = traces(sockets.get(plain));
          const usual = now.length > 0 ? now : (remembered.traces ?? []);
          remembered.traces = usual;
          const ours = traces(sockets.get(each.server)).filter((trace) => !usual.includes(trace));
          if (usual.length > 0 && ours.length > 0)
            expect(ours, 'I-BOUND: listeners on idle connections').toEqual([]);
        }
        await expectBounded(each, limits);
        const health = await ask(each.port, { path: '/health', agent: false });
        if (health.status !== 200) expect(health.status, 'I-ALIVE: /health').toBe(200);
      }
    } finally {
      for (const { close } of watched.splice(0)) await close();
      sockets.clear();
    }
    for (const { got, user } of seen.splice(0)) {
      const foreign = [...canaries].filter(([owner]) => owner !== user);
      if (foreign.length === 0) continue;
      const text = `${JSON.stringify(got.headers)}${got.body}`;
      for (const [, canary] of foreign) {
        if (text.includes(canary)) expect(text, 'I-CANARY').not.toContain(canary);
      }
    }
    await waitFor(() => Object.entries(resources()).every(([name, n]) => n <= (before[name] ?? 0))).catch(
      () => {
        expect(resources(), 'I-EXIT: resources left open').toEqual(before);
      },
    );
    await nextTurn();
    if (unexpected.length > 0) expect(unexpected.splice(0), 'I-ALIVE: uncaught').toEqual([]);
  });

  afterAll(() => {
    process.off('uncaughtException', note);
    process.off('unhandledRejection', note);
  });

  return {
    watch(each) {
      watched.push(each);
      follow(each.server);
      if (each.plain) follow(each.plain);
    },
    canary(user) {
      const canary = canaries.get(user) ?? `canary-${user}-${Math.random().toString(36).slice(2)}`;
      canaries.set(user, canary);
      return canary;
    },
    saw: (got, user) => void seen.push({ got, user }),
  };
}

async function expectBounded({ caches = [], registries = [] }: Watched, limits: Ceilings): Promise<void> {
  for (const cache of caches) {
    await waitFor(() => cache.stats().pending === 0);
    const { entries, bytes } = cache.stats();
    if (!(entries <= limits.entries)) expect(entries, 'I-BOUND: entries').toBeLessThanOrEqual(limits.entries);
    if (!(bytes <= limits.bytes)) expect(bytes, 'I-BOUND: bytes').toBeLessThanOrEqual(limits.bytes);
  }
  for (const registry of registries) {
    await waitFor(async () =>
      (await valuesOf(registry, 'http_requests_in_progress')).every(({ value }) => value === 0),
    );
    const series = await valuesOf(registry, 'http_requests_total');
    if (series.length > limits.series) {
      expect(series.length, 'I-BOUND: series').toBeLessThanOrEqual(limits.series);
    }
  }
}

/** The values of one metric; none when the registry does not have it. */
export async function valuesOf(
  registry: Registry,
  name: string,
): Promise<{ labels: Record<string, string | number | undefined>; value: number }[]> {
  return (await registry.getSingleMetric(name)?.get())?.values ?? [];
}

/** Traces of requests on the idle connections of a server, each kind once. */
function traces(open: ReadonlySet<Socket> | undefined): string[] {
  const found = new Set<string>();
  for (const socket of open ?? []) {
    const listeners = socket.eventNames().map((name) => `${String(name)}: ${socket.listenerCount(name)}`);
    const own = ['destroy', 'destroySoon', 'write', 'end'].filter((name) => Object.hasOwn(socket, name));
    found.add([...listeners.sort(), ...own].join(', '));
  }
  return [...found].sort();
}

function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) {
    if (RESOURCES.includes(name)) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
