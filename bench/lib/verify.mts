// Verifies a contender before its measurement: correct response, correct coding, from the expected source.
import { setTimeout as delay } from 'node:timers/promises';
import { productsOf, SIZES, type SizeName } from '../contenders/bodies.mjs';
import { STALE_TTL_SECONDS } from '../contenders/settings.mjs';
import type { Contender } from './contenders.mjs';
import { type Answer, decode, get } from './exchange.mjs';
import type { Load } from './loads.mjs';
import type { Running } from './servers.mjs';

/** The request headers of a load, as wrk and the verification send them. */
export function headersOf(load: Load, entityTag?: string): Record<string, string> {
  return {
    'Accept-Encoding': load.coding,
    ...(entityTag === undefined ? {} : { 'If-None-Match': entityTag }),
  };
}

/** The faults of a response, as text; empty for none. */
export function faultsOf(load: Load, path: string, answer: Answer): string[] {
  const expected = load.isConditional ? 304 : 200;
  if (answer.status !== expected) return [`status ${answer.status} instead of ${expected}`];
  if (load.isConditional) {
    // Without a length, which RFC 9110 §8.6 allows, no body may follow (§6.4.1).
    const isRead = answer.headers['content-length'] === undefined;
    return isRead ? [] : ['its 304 has a Content-Length, and wrk waits for such a body'];
  }
  const faults: string[] = [];
  const coding = answer.headers['content-encoding'] ?? 'identity';
  if (coding !== load.coding) faults.push(`coding ${coding} instead of ${load.coding}`);
  try {
    if (!isDeepSame(decode(answer), expectedBody(path))) faults.push('the body is not that of the handler');
  } catch {
    faults.push('the body cannot be decoded');
  }
  return faults;
}

function isDeepSame(body: Buffer, expected: string): boolean {
  return body.toString('utf8') === expected;
}

/** The response body of the app's handlers. */
export function expectedBody(path: string): string {
  const [, route, rest] = path.split('/');
  if (route === 'item') return JSON.stringify({ item: rest, related: productsOf(900) });
  const size = route === 'hit' ? (rest as SizeName) : '10kb';
  return JSON.stringify(productsOf(SIZES[size]));
}

export interface Verified {
  /** The request headers of the load, with the client's entity tag. */
  readonly headers: Record<string, string>;
  /** Bytes of the body as sent. */
  readonly bytes: number;
  readonly answer: Answer;
}

/** Outside the keys of loads and other checks. */
const KEYS_OF_LOOKS = 900_000_000;
const KEYS_OF_A_LOOK = 100;

const BECOMES_STALE_MS = 4_000 * STALE_TTL_SECONDS;

/** Verifies a running contender for the n-th time. @throws with the fault. */
export async function verify(
  contender: Contender,
  running: Running,
  load: Load,
  look: number,
): Promise<Verified> {
  let next = KEYS_OF_LOOKS + look * KEYS_OF_A_LOOK;
  const isDistinct = load.script === 'sequence' && load.handler === 'runs';
  const path = () => (load.script === undefined ? load.path : `${load.path}${isDistinct ? next++ : 0}`);
  const plain = headersOf(load);
  const first = await get(running.port, path(), plain);
  const entityTag = load.isConditional ? first.headers.etag : undefined;
  if (load.isConditional && !contender.isReplay && entityTag === undefined) throw new Error('no ETag');
  const headers = headersOf(load, entityTag);
  const isStale = load.handler === 'behind' && contender.isCache;
  if (isStale) await delay(BECOMES_STALE_MS);
  const before = await running.state();
  let answer: Answer | undefined;
  const faults: string[] = [];
  for (let i = 0; i < 3; i++) {
    const asked = path();
    answer = await get(running.port, asked, headers);
    faults.push(...faultsOf(load, asked, answer));
    if (!isStale) continue;
    if (answer.headers['x-cache'] !== 'STALE') faults.push('it is no stale hit');
    await delay(BECOMES_STALE_MS); // refreshed meanwhile
  }
  const runs = (await running.state()).runs - before.runs;
  const isReplay = contender.isReplay === true;
  if (load.handler === 'rests' && contender.isCache && runs > 0) faults.push('it is no hit: a handler ran');
  if ((load.handler === 'runs' || load.handler === 'behind') && !isReplay && runs !== 3)
    faults.push(`handlers ran ${runs} times instead of 3`);
  if (faults.length > 0) throw new Error([...new Set(faults)].join('; '));
  return { headers, bytes: (answer as Answer).body.length, answer: answer as Answer };
}

const READY_WITHIN_MS = 10_000;

/** Waits until a contender has connected to its Redis or origin. */
export async function untilReady(running: Running): Promise<void> {
  const begin = performance.now();
  while (!(await running.state()).isReady) {
    if (performance.now() - begin > READY_WITHIN_MS) throw new Error('it is not connected to Redis');
    await delay(50);
  }
}

const SETTLED_AFTER_MS = 1_500;
const SETTLES_WITHIN_MS = 15_000;

/** Waits until a contender has finished encoding bodies in the background. */
export async function settle(running: Running): Promise<void> {
  const begin = performance.now();
  let [encoded, since] = [-1, begin];
  while (performance.now() - begin < SETTLES_WITHIN_MS) {
    const now = (await running.state()).encoded;
    if (now === encoded && performance.now() - since > SETTLED_AFTER_MS) return;
    if (now !== encoded) [encoded, since] = [now, performance.now()];
    await delay(100);
  }
}
