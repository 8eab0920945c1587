import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { runInOwnContext } from '../../src/exchange/own-context.js';

describe('the context of work for many clients', () => {
  it('is that of no client, for what runs at once and for what follows from it [H12]', async () => {
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

  it('does not keep what one piece of work has entered for the next [H12]', () => {
    const users = new AsyncLocalStorage<string>();
    runInOwnContext(() => users.enterWith('the first'));
    expect(runInOwnContext(() => users.getStore())).toBeUndefined();
  });

  it('gives the result back, and lets the client’s own context go on', () => {
    const users = new AsyncLocalStorage<string>();
    users.run('alice', () => {
      expect(runInOwnContext(() => 1)).toBe(1);
      expect(users.getStore()).toBe('alice');
    });
  });
});
