import { isIPv6 } from 'node:net';
import { performance } from 'node:perf_hooks';

/** Failures of one address, and of all together, that may come at once; as many more may come in each minute. */
const MOST_OF_ADDRESS = 10;
const MOST_TOGETHER = 100;

/** Addresses that are remembered; the one that was met longest ago goes first. */
const MOST_ADDRESSES = 1000;

const MINUTE = 60_000;

/** Failures that a minute takes off, a little at a time. */
class LeakyCount {
  readonly #most: number;
  #count = 0;
  /** On the clock of `performance.now()`. Milliseconds. */
  #at = performance.now();

  constructor(most: number) {
    this.#most = most;
  }

  add(): void {
    this.#count = this.#now + 1;
    this.#at = performance.now();
  }

  /** Until one more is permitted. */
  get secondsToWait(): number {
    return Math.max(0, ((this.#now + 1 - this.#most) / this.#most) * (MINUTE / 1000));
  }

  get #now(): number {
    return Math.max(0, this.#count - ((performance.now() - this.#at) / MINUTE) * this.#most);
  }
}

/**
 * Limits failed attempts to sign in: those of each address, and those of all addresses together. An address that has
 * signed in before is exempt from the second limit, so that an attack by many addresses does not lock out operators.
 */
export class FailureLimit {
  readonly #all = new LeakyCount(MOST_TOGETHER);
  readonly #byNetwork = new Map<string, LeakyCount>();
  readonly #trusted = new Set<string>();

  /** How long an address has to wait before its next attempt; 0: not at all. */
  secondsToWait(address: string | undefined): number {
    const network = networkOf(address);
    const own = this.#byNetwork.get(network)?.secondsToWait ?? 0;
    return this.#trusted.has(network) ? own : Math.max(own, this.#all.secondsToWait);
  }

  failed(address: string | undefined): void {
    const network = networkOf(address);
    const count = this.#byNetwork.get(network) ?? new LeakyCount(MOST_OF_ADDRESS);
    count.add();
    this.#all.add();
    this.#byNetwork.delete(network);
    this.#byNetwork.set(network, count);
    dropOldest(this.#byNetwork);
  }

  /** The failures before it still count: an attacker may share the address. */
  succeeded(address: string | undefined): void {
    const network = networkOf(address);
    this.#trusted.delete(network);
    this.#trusted.add(network);
    dropOldest(this.#trusted);
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#byNetwork.size + this.#trusted.size;
  }
}

function dropOldest(remembered: Map<string, unknown> | Set<string>): void {
  const [oldest] = remembered.keys();
  if (remembered.size > MOST_ADDRESSES && oldest !== undefined) remembered.delete(oldest);
}

/** The first 64 bits of an IPv6 address, because one client has all the others. */
function networkOf(address = ''): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address.slice(0, 100);
  const [left = '', right] = address.toLowerCase().split('::');
  const first = left.split(':').filter(Boolean);
  const last = right?.split(':').filter(Boolean) ?? [];
  const zeros = right === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  return [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).join(':');
}
