import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guarded, unawaited } from '../../../src/runtime/guard.js';
import { describeError, messageOf, reportFault } from '../../../src/runtime/report-fault.js';

const throwing = () => {
  throw new Error('on purpose');
};
const values: Record<string, unknown> = {
  'an error': new Error('on purpose'),
  'a frozen error': Object.freeze(new Error('on purpose')),
  undefined: undefined,
  null: null,
  'a symbol': Symbol('s'),
  'an object without prototype': Object.create(null),
  'an object whose text throws': { toString: throwing },
  'an error whose stack and message throw': Object.defineProperties(new Error('x'), {
    stack: { get: throwing },
    message: { get: throwing },
    toString: { value: throwing },
  }),
  'a proxy that throws at everything': new Proxy(
    {},
    { get: throwing, has: throwing, getPrototypeOf: throwing },
  ),
  'an error of another realm': runInNewContext('new Error("elsewhere")'),
};

describe('fault reports', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  beforeEach(() => {
    warn.mockClear();
    delete (globalThis as Record<symbol, unknown>)[Symbol.for('hotpath.faults')];
  });
  afterEach(() => {
    delete (globalThis as Record<symbol, unknown>)[Symbol.for('hotpath.faults')];
  });

  it.each(Object.entries(values))('describe %s and never throw', (_name, value) => {
    expect(typeof describeError(value)).toBe('string');
    expect(typeof messageOf(value)).toBe('string');
    reportFault('test', value);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('are limited for each place and message, and say how many there were in between', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      for (let i = 0; i < 3; i++) reportFault('tags', new Error('no such product'));
      reportFault('tags', new Error('another'));
      reportFault('when', new Error('no such product'));
      expect(warn).toHaveBeenCalledTimes(3);
      vi.advanceTimersByTime(10_000);
      reportFault('tags', new Error('no such product'));
      expect(warn).toHaveBeenCalledTimes(4);
      expect(warn.mock.lastCall?.[0]).toMatch(/tags failed.*\(and 2 more times since the last warning\)/);
    } finally {
      vi.useRealTimers();
    }
  });

  it('are bounded for messages and places that are always different', () => {
    for (let i = 0; i < 10_000; i++) reportFault('tags', new Error(`no product ${i}`));
    for (let i = 0; i < 10_000; i++) reportFault(`place ${i}`, new Error('x'));
    expect(warn.mock.calls.length).toBeLessThanOrEqual(101);
  });

  it('do not throw when emitWarning throws', () => {
    warn.mockImplementationOnce(throwing);
    expect(() => reportFault('test', new Error('on purpose'))).not.toThrow();
  });

  it('keep `this` and the arguments of a guarded callback, and report an error it throws', () => {
    const seen: unknown[] = [];
    const callback = guarded('test', function (this: unknown, ...args: unknown[]) {
      seen.push(this, ...args);
      throw values['an object without prototype'];
    });
    const self = {};
    expect(() => callback.call(self, 1, 2)).not.toThrow();
    expect(seen).toEqual([self, 1, 2]);
    expect(warn).toHaveBeenCalledTimes(1);
  });

  // Created by name, because lint rejects a literal with a `then`.
  const withThen = (value: object, then: unknown) => Object.defineProperty(value, 'then', { value: then });
  it.each<[string, () => unknown]>([
    ['a promise', () => Promise.reject(values['an object without prototype'])],
    ['a promise of another realm', () => runInNewContext('Promise.reject(Object.create(null))')],
    ['a promise whose `then` was replaced', () => withThen(Promise.reject(new Error('x')), 1)],
    ['a thenable that throws', () => withThen({}, throwing)],
    [
      'a thenable that rejects',
      () => withThen({}, (_: unknown, reject: (error: unknown) => void) => reject(undefined)),
    ],
    ['an object whose `then` can not be read', () => Object.defineProperty({}, 'then', { get: throwing })],
  ])('reports an unawaited rejection of %s', async (_name, make) => {
    await unawaited(make(), 'test');
    expect(warn).toHaveBeenCalledTimes(1);
  });
});
