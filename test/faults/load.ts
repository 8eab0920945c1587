import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** The outcome of one request. Times in milliseconds; `at` on the monotonic clock. */
export interface Outcome {
  /** The time when it was due, so that delays of the client count too. */
  readonly at: number;
  readonly latency: number;
  /** An error, the body of another path, or no response within `GIVE_UP_MS`. */
  readonly fault?: 'error' | 'wrong' | 'hung';
  /** A description of the fault. */
  readonly detail?: string;
  /** The instance that computed the response. */
  readonly by?: string | undefined;
}

/** A response that takes longer counts as missing. */
export const GIVE_UP_MS = 10_000;

const languages = ['de', 'fr', 'ja'];

/** Requested paths: half of them new, the rest repeated, in several languages. */
function wanted(name: string, n: number): { path: string; language: string } {
  if (n % 2 === 0) return { path: `/${n % 8 === 0 ? 'turns' : 'item'}/${name}/${n}`, language: 'de' };
  const language = languages[(n >> 2) % languages.length]!;
  const path = n % 4 === 1 ? `/item/${name}/again-${n % 100}` : `/short/${name}/${n % 40}`;
  return { path, language };
}

/** Requests one path from one instance, and checks the response. Never rejects. */
export function askFor(
  port: number,
  { path, language }: { path: string; language: string },
  {
    agent,
    at = performance.now(),
    giveUp = GIVE_UP_MS,
  }: { agent?: Agent; at?: number; giveUp?: number } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const settle = (what: Omit<Outcome, 'at' | 'latency'>) => {
      clearTimeout(timer);
      resolve({ at, latency: performance.now() - at, ...what });
    };
    const headers = { 'Accept-Language': language, Host: 'shop.example' };
    const req = request({ host: '127.0.0.1', port, path, agent, headers });
    const timer = setTimeout(() => {
      settle({ fault: 'hung', detail: `${path}: nothing within ${giveUp} ms` });
      req.destroy();
    }, giveUp);
    req.on('error', (error) => settle({ fault: 'error', detail: `${path}: ${error.message}` }));
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (part) => (text += part));
      res.on('error', (error) => settle({ fault: 'error', detail: `${path}: ${error.message}` }));
      res.on('end', () => {
        if (res.statusCode !== 200) return settle({ fault: 'error', detail: `${path}: ${res.statusCode}` });
        const body = parsed(text);
        const isRight = body.path === path && body.language === language && body.text?.length === 960;
        if (isRight) settle({ by: body.by });
        else settle({ fault: 'wrong', detail: `${path} in ${language}: ${text.slice(0, 200)}` });
      });
    });
    req.end();
  });
}

function parsed(text: string): { path?: string; language?: string; by?: string; text?: string } {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Requests in flight and finished requests. */
export interface Load {
  /** One list for each port, in the order of the ports. */
  readonly outcomes: readonly (readonly Outcome[])[];
  /** Resolves when all requests in flight have a response or are given up. */
  underWay(): Promise<unknown>;
  /** Stops new requests; resolves when the last one has a response. */
  stop(): Promise<void>;
}

/**
 * Sends requests at a fixed rate, with any results (an open model), the same to each port.
 *
 * @param rate requests per second, to each port.
 */
export function startLoad(ports: readonly number[], name: string, rate: number): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const outcomes = ports.map((): Outcome[] => []);
  const pending = new Set<Promise<void>>();
  const from = performance.now();
  let isOver = false;
  const send = (port: number, into: Outcome[], n: number) => {
    const at = from + (n * 1000) / rate;
    const done = askFor(port, wanted(name, n), { agent, at }).then((outcome) => {
      into.push(outcome);
      pending.delete(done);
    });
    pending.add(done);
  };
  const run = async () => {
    for (let n = 0; !isOver; await delay(1)) {
      for (; !isOver && from + (n * 1000) / rate <= performance.now(); n++) {
        // In turns, so that no port is always second.
        for (let i = 0; i < ports.length; i++) {
          const which = (i + n) % ports.length;
          send(ports[which]!, outcomes[which]!, n);
        }
      }
    }
  };
  const running = run();
  return {
    outcomes,
    underWay: () => Promise.all(pending),
    async stop() {
      isOver = true;
      await running;
      await Promise.all(pending);
      agent.destroy();
    },
  };
}
