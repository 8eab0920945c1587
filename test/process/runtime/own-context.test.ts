import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { runInOwnContext } from '../../../src/runtime/module-context.js';

describe('the async context of work for many clients', () => {
  it('is the context of no client, for synchronous and asynchronous work [H12]', async () => {
    const users = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    await users.run('alice', () =>
      runInOwnContext(async () => {
        seen.push(users.getStore());
        await undefined;
        seen.push(users.getStore());
        await new Promise((resolve) => setTimeout(resolve, 1));
        seen.push(users.getStore());
      }),
    );
    expect(seen).toEqual([undefined, undefined, undefined]);
  });

  it('keeps nothing that one piece of work entered for the next [H12]', () => {
    const users = new AsyncLocalStorage<string>();
    runInOwnContext(() => users.enterWith('the first'));
    expect(runInOwnContext(() => users.getStore())).toBeUndefined();
  });

  it('returns the result, and restores the context of the client', () => {
    const users = new AsyncLocalStorage<string>();
    users.run('alice', () => {
      expect(runInOwnContext(() => 1)).toBe(1);
      expect(users.getStore()).toBe('alice');
    });
  });
});
