import type { IncomingMessage, ServerResponse } from 'node:http';
import type express5 from 'express';
import type { Express } from 'express';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { afterEach } from 'vitest';
import { type Listening, listen, type RawAnswer, raw } from '../helpers/http.js';
import { keepConnection } from '../helpers/kept.js';

/** Which part of an app serves a hit. */
export type Way = 'door' | 'lane' | 'middlewares';

/** An app with hotpath, listening on a port. */
export interface Site extends Listening {
  readonly app: Express;
  readonly perf: Hotpath;
  /** How often handlers ran. */
  runs(): number;
  ask(head: string): Promise<RawAnswer>;
  /** The same over a connection that stays open. */
  askKept(head: string): Promise<RawAnswer>;
}

export interface SiteOptions {
  express: typeof express5;
  way: Way;
  config?: HotpathConfig;
  before?: ((app: Express) => void) | undefined;
  routes: (app: Express, count: () => number) => void;
}

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
});

/** Creates an app whose hits are served in one of the three ways; it is closed after the test. */
export async function site({ express, way, config, before, routes }: SiteOptions): Promise<Site> {
  let runs = 0;
  const app = express();
  const perf = hotpath(config);
  // A listener for the end of the response expects it as the app made it: such a response skips the fast path.
  if (way === 'middlewares') {
    app.use((_req: IncomingMessage, res: ServerResponse, next: () => void) => {
      res.on('close', () => {});
      next();
    });
  }
  before?.(app);
  app.use(perf);
  if (way === 'door') perf.attach(app);
  routes(app, () => ++runs);
  const listening = await listen(app);
  const kept = keepConnection(listening.port);
  open.push(async () => {
    kept.close();
    await perf.close();
    await listening.close();
  });
  const ask = (head: string) => raw(listening.port, `${head}\r\nConnection: close\r\n\r\n`);
  const askKept = (head: string) => kept.ask(`${head}\r\n\r\n`);
  return { ...listening, app, perf, runs: () => runs, ask, askKept };
}

/** Bytes that cover all values. */
export function bytesOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) % 256));
}

/** A request head with a Host field. */
export function head(target: string, fields: Readonly<Record<string, string>> = {}, method = 'GET'): string {
  const lines = Object.entries({ Host: 'shop.example', ...fields }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return [`${method} ${target} HTTP/1.1`, ...lines].join('\r\n');
}

/** Values that differ between responses. */
const MOVING: readonly [name: string, form: RegExp][] = [
  ['x-request-id', /^[0-9a-f-]{36}$/],
  ['x-response-time', /^\d+\.\d{3}ms$/],
  ['server-timing', /^total;dur=\d+\.\d{3}(.*)$/],
  ['age', /^\d+$/],
  ['cache-status', /(ttl=)\d+/],
];

/** The sorted lines of a head, without the values that differ between responses if they have the expected form. */
export function still({ headers }: RawAnswer): string[] {
  const lines = headers.map(([name, value]) => {
    const moving = MOVING.find(([known]) => known === name.toLowerCase());
    if (!moving) return `${name}: ${value}`;
    const [, form] = moving;
    return `${name}: ${value.replace(form, (_all, kept) => `${typeof kept === 'string' ? kept : ''}…`)}`;
  });
  return lines.sort();
}

/** A request. */
export interface Request {
  readonly path: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly method?: string;
}

/** Repeats a request until the response stops changing, apart from the values above: a hit in its stored form. */
export async function settled(made: Site, { path, fields, method = 'GET' }: Request): Promise<RawAnswer> {
  const ask = () => made.askKept(head(path, fields, method));
  let before = await ask();
  for (let attempts = 0; ; attempts++) {
    const answer = await ask();
    // Responses that are never stored, or never stored in this form.
    if (attempts > 50) return answer;
    const isSame = still(answer).join() === still(before).join();
    // A response stored in another coding is encoded in the background; until then it is chunked.
    if (answer.header('x-cache') !== 'MISS' && !answer.header('transfer-encoding') && isSame) return answer;
    before = answer;
  }
}
