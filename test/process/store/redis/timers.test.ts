import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, it } from 'vitest';
import { systemTimers } from '../../../../src/store/redis/timers.js';

it('runs later calls without any client’s async context, since others follow from them [H12]', async () => {
  const users = new AsyncLocalStorage<string>();
  const seen = await users.run(
    'alice',
    () => new Promise((resolve) => systemTimers.after(1, () => resolve(users.getStore() ?? 'nobody'), true)),
  );
  expect(seen).toBe('nobody');
});
