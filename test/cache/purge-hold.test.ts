import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { holdForPurge, type PurgeHold } from '../../src/cache/purges.js';
import { listen } from '../helpers/http.js';

/** A server whose answers wait for a purge of the test's own. */
async function holding(hold: Omit<PurgeHold, 'fault'>) {
  const faults: unknown[] = [];
  const { url, close } = await listen(
    createServer((req: IncomingMessage, res: ServerResponse) => {
      holdForPurge(req, res, { all: true }, { ...hold, fault: (error) => faults.push(error) });
      res.end('written');
    }),
  );
  return { url, close, faults };
}

describe('the end of a write', () => {
  it('H07 does not come before its purge is acknowledged', async () => {
    let acknowledge = () => {};
    const acknowledged = new Promise<void>((resolve) => {
      acknowledge = resolve;
    });
    let isAcknowledged = false;
    const { url, close } = await holding({ purge: () => acknowledged });
    const answer = fetch(url).then(async (response) => [await response.text(), isAcknowledged]);
    setTimeout(() => {
      isAcknowledged = true;
      acknowledge();
    }, 50);
    expect(await answer).toEqual(['written', true]);
    await close();
  });

  it('H07 comes at the deadline when the purge hangs, and the fault is reported', async () => {
    const { url, close, faults } = await holding({ purge: () => new Promise(() => {}), deadline: 50 });
    expect(await (await fetch(url)).text()).toBe('written');
    expect(String(faults)).toContain('took too long');
    await close();
  });

  it('H07 comes when the purge fails, and the fault is reported', async () => {
    const { url, close, faults } = await holding({ purge: () => Promise.reject(new Error('refused')) });
    expect(await (await fetch(url)).text()).toBe('written');
    expect(String(faults)).toContain('refused');
    await close();
  });
});
