import { afterEach, describe, expect, it, vi } from 'vitest';
import { FailureLimit } from '../../../src/admin/access/failure-limit.js';
import { stopClock } from '../../helpers/clock.js';

afterEach(() => void vi.restoreAllMocks());

const fail = (limit: FailureLimit, address: string | undefined, times: number) => {
  for (let at = 0; at < times; at++) limit.failed(address);
};

describe('the limit of failed attempts to sign in', () => {
  it('counts an IPv6 network as one client, and IPv4 in either form as the same', () => {
    stopClock();
    const limit = new FailureLimit();
    for (let at = 0; at < 5; at++) {
      limit.failed(`2001:db8:0:1::${at}`);
      limit.failed(`2001:DB8::1:${at}:0:0:1`);
      limit.failed(at % 2 ? '192.0.2.1' : '::ffff:192.0.2.1');
    }
    const waits = ['2001:db8:0:1:ffff::', '2001:db8:0:2::1', '192.0.2.1', '::1', undefined];
    expect(waits.map((address) => limit.secondsToWait(address) > 0)).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
    fail(limit, '::ffff:192.0.2.1', 5);
    expect(limit.secondsToWait('192.0.2.1')).toBe(6);
  });

  it('stops many addresses together, but none that has signed in before', () => {
    const clock = stopClock();
    const limit = new FailureLimit();
    limit.succeeded('198.51.100.1');
    for (let at = 0; at < 100; at++) limit.failed(`192.0.2.${at}`);
    expect([limit.secondsToWait('203.0.113.1'), limit.secondsToWait('198.51.100.1')]).toEqual([0.6, 0]);
    clock.pass(60_000);
    expect(limit.secondsToWait('203.0.113.1')).toBe(0);
    // Signing in forgives nothing: an attacker may share the address.
    fail(limit, '198.51.100.1', 10);
    limit.succeeded('198.51.100.1');
    expect(limit.secondsToWait('198.51.100.1')).toBe(6);
  });

  it('remembers a bounded number of addresses', () => {
    const limit = new FailureLimit();
    for (let at = 0; at < 5000; at++) {
      limit.failed(`10.0.${at >> 8}.${at & 255}`);
      limit.succeeded(`10.1.${at >> 8}.${at & 255}`);
    }
    expect(limit.size).toBe(2000);
  });
});
