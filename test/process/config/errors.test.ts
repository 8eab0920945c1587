import { describe, expect, it, vi } from 'vitest';
import { resolveConfig } from '../../../src/config.js';
import { configError, HotpathError, isHotpathError } from '../../../src/options/errors.js';

describe('HotpathError', () => {
  it('has a literal name, a stable code and its cause', () => {
    const cause = new Error('beneath');
    const error = new HotpathError('HOTPATH_ATTACH_INVALID', 'attached too late', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'HotpathError',
      code: 'HOTPATH_ATTACH_INVALID',
      message: 'attached too late',
      cause,
    });
    expect(error.stack).toContain('HotpathError: attached too late');
  });

  it('is recognised across copies of the package, by instanceof and by isHotpathError', async () => {
    vi.resetModules();
    const copy = await import('../../../src/options/errors.js');
    expect(copy.HotpathError).not.toBe(HotpathError);
    const error = new copy.HotpathError('HOTPATH_ATTACH_INVALID', 'attached too late');
    expect(error instanceof HotpathError).toBe(true);
    expect(isHotpathError(error)).toBe(true);
  });

  it.each([
    new Error('x'),
    Object.assign(new Error('x'), { name: 'HotpathError', code: 'HOTPATH_ATTACH_INVALID' }),
    { [Symbol.for('hotpath.error')]: true },
    null,
    undefined,
    'HotpathError',
  ])('is not confused with something else (%s)', (value) => {
    expect(isHotpathError(value)).toBe(false);
    expect((value as unknown) instanceof HotpathError).toBe(false);
  });

  it('lists each problem on its own line', () => {
    const error = configError([
      { path: 'a', message: 'expected b', received: "'c'" },
      { path: 'd.e', message: 'contradicts `f`' },
    ]);
    expect(error.message).toBe(
      "Invalid hotpath config (2 problems):\n  a: expected b, received 'c'\n  d.e: contradicts `f`",
    );
    expect(error.problems).toHaveLength(2);
  });

  it('shows no password of a URL, neither in the message nor in the problems', () => {
    for (const url of [
      'redi://user:hunter2@host',
      'user:hunter2@host:6379',
      'redis://:hun/ter2@',
      'x://h?password=hunter2',
      // Cut off at its `#`, as dotenv does.
      'redis://:hunter2',
      'redis://user:hunter2',
    ]) {
      const error = thrownBy({ cache: { redis: { url } } });
      expect(JSON.stringify([error.message, error.problems])).not.toMatch(/hunter2|ter2/);
    }
    const nested = thrownBy({ cache: { redis: ['redis://user:hunter2@host'] } });
    expect(nested.message).not.toContain('hunter2');
  });

  it.each([
    '7#hunter2',
    'hunter2#7',
    '7/hunter2',
    '7?hunter2',
    '7@hunter2#',
    '7@hunter2',
    'hunter2%',
    '7#',
    '#hunter2',
  ])('rejects a Redis URL whose password %s is not encoded, and shows no part of it [K14]', (password) => {
    for (const user of ['', 'user']) {
      for (const scheme of ['redis', 'rediss']) {
        const { message } = thrownBy({
          cache: { redis: { url: `${scheme}://${user}:${password}@127.0.0.1:6379` } },
        });
        expect(message).toContain('cache.redis.url: expected a URL such as');
        expect(message).toContain('percent-encoded (encodeURIComponent)');
        expect(message).not.toContain('hunter2');
      }
    }
  });

  it.each([
    'hunter2 hunter2',
    'a\thunter2',
    'a\nhunter2',
    "a'hunter2",
    'a"hunter2',
    'a"\'`hunter2',
    'a&hunter2',
  ])('shows nothing of the password %j, in a query and within other values [K14]', (password) => {
    const urls = [
      `redis://host/?password=${password}#x`,
      `redis://host?username=a&password=${password} `,
      `redis://user:${password}@host #x`,
      `redis://user:${password} `,
    ];
    for (const url of urls) {
      for (const redis of [{ url }, [url], { url: [url] }, { url: { to: url } }]) {
        expect(thrownBy({ cache: { redis } }).message).not.toContain('hunter2');
      }
    }
  });

  it('stays short for a huge value', () => {
    expect(thrownBy({ sizeLimit: { limit: 'x'.repeat(1e6) } }).message.length).toBeLessThan(300);
    expect(thrownBy({ sizeLimit: { limit: ['?pass'.repeat(1e5)] } }).message.length).toBeLessThan(300);
  });
});

function thrownBy(config: unknown): HotpathError {
  try {
    resolveConfig(config as never);
  } catch (error) {
    if (isHotpathError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
