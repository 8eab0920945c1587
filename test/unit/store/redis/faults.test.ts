import { describe, expect, it } from 'vitest';
import {
  classifyRedisError,
  cleanMessage,
  DeadlineError,
  FaultReporter,
} from '../../../../src/store/redis/redis-errors.js';

describe('reports of Redis failures', () => {
  const start = (interval = 1000) => {
    const told: Error[] = [];
    const clock = { now: 0 };
    const reporter = new FaultReporter(
      (error) => told.push(error),
      interval,
      () => clock.now,
    );
    return { told, clock, reporter };
  };

  it('contain each kind once in an interval, then with a count [K14]', () => {
    const { told, clock, reporter } = start();
    for (let i = 0; i < 100; i++) reporter.tell(new Error('OOM command not allowed'), 'redis write');
    for (let i = 0; i < 100; i++) reporter.tell(new DeadlineError(50), 'redis read');
    expect(told.map((error) => error.message)).toEqual([
      'redis write: OOM command not allowed',
      'redis read: no reply within 50 ms',
    ]);
    clock.now = 1000;
    reporter.tell(new Error('OOM command not allowed'), 'redis write');
    expect(told[2]!.message).toBe('redis write: OOM command not allowed (and 99 more since the last report)');
  });

  it('contain no passwords and no command arguments [K14]', () => {
    const { told, reporter } = start();
    const error = Object.assign(new Error('WRONGPASS invalid username-password pair'), {
      command: { name: 'auth', args: ['s3cret'] },
    });
    reporter.tell(error, 'redis');
    reporter.tell(new Error('could not reach rediss://user:s3cret@host:6379/0'), 'redis');
    reporter.tell(new Error('could not reach redis://:s3cret@host'), 'redis read');
    reporter.tell(
      new Error("ERR unknown command 'X', with args beginning with: 's3cret' 'visitor'"),
      'redis',
    );
    const text = told
      .map((one) => `${JSON.stringify(Object.entries(one))}${one.stack}${one.cause}`)
      .join('\n');
    expect(told).toHaveLength(4);
    expect(text).not.toContain('s3cret');
    expect(text).not.toContain('visitor');
    expect(text).toContain('rediss://***@host:6379/0');
  });

  it('shorten messages of any length, and print non-errors as text', () => {
    expect(cleanMessage(new Error('x'.repeat(10_000))).length).toBeLessThanOrEqual(300);
    expect(cleanMessage('text')).toBe('text');
    expect(cleanMessage(undefined)).toBe('undefined');
  });

  it('ignore a reporting function that throws', () => {
    const reporter = new FaultReporter(() => {
      throw new Error('of the user');
    });
    expect(() => reporter.tell(new Error('x'), 'redis')).not.toThrow();
  });

  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'oom'],
    ["READONLY You can't write against a read only replica.", 'readonly'],
    ['ERR Error running script: @user_script: 1: -OOM command not allowed', 'oom'],
    ['Error running script: @user_script:1: READONLY x', 'readonly'],
    ['Connection is closed.', 'connection'],
    ['connect ECONNREFUSED 127.0.0.1:6379', 'connection'],
    ['UNKNOWNWORD x', 'connection'],
    ['__proto__', 'connection'],
  ])('count `%s` as `%s`', (message, word) => {
    expect(classifyRedisError(new Error(message))).toBe(word);
  });
});
