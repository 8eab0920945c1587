import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import {
  type PurgeRecorder,
  type PurgeTarget,
  purgeBeforeEnd,
} from '../../../src/cache/invalidate/purge-after-write.js';
import { selectInvalidated } from '../../../src/cache/invalidate/unsafe-methods.js';
import { gate } from '../../helpers/gate.js';
import { listen, raw } from '../../helpers/http.js';

/** A server whose responses are held for a purge of the test. */
async function holding(hold: Omit<PurgeRecorder, 'fault'>, target: PurgeTarget = { all: true }) {
  const faults: unknown[] = [];
  const { url, close } = await listen(
    createServer((req: IncomingMessage, res: ServerResponse) => {
      res.setHeader('Cache-Group-Invalidation', '"red"');
      purgeBeforeEnd(req, res, target, { ...hold, fault: (error) => faults.push(error) });
      res.end('written');
    }),
  );
  return { url, close, faults };
}

describe('the end of a write', () => {
  it('waits for the acknowledgement of its purge [H07]', async () => {
    const { opened: acknowledged, open: acknowledge } = gate();
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

  it('waits for the invalidations of its method and groups, RFC 9111 §4.4, RFC 9875 §3 [H07]', async () => {
    const purged: unknown[] = [];
    let isAcknowledged = false;
    const purge = (selectors: readonly unknown[]) =>
      new Promise<void>((resolve) => {
        purged.push(...selectors);
        setTimeout(() => {
          isAcknowledged = true;
          resolve();
        }, 50);
      });
    const { url, close } = await holding({ purge }, selectInvalidated);
    const answer = await fetch(`${url}/x?y`, { method: 'POST' }).then((response) => response.text());
    expect([answer, isAcknowledged]).toEqual(['written', true]);
    expect(purged).toEqual([{ url: '/x?y' }, { tag: expect.stringContaining('red') }]);
    await close();
  });

  it('waits for the URL of an absolute target without Express, too [A16]', async () => {
    const purged: unknown[] = [];
    const { url, close, faults } = await holding(
      { purge: (selectors) => purged.push(...selectors) },
      selectInvalidated,
    );
    const head = 'POST http://other.example/x?y HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n';
    expect((await raw(Number(new URL(url).port), head)).text).toBe('written');
    expect(purged).toEqual([{ url: '/x?y' }, { tag: expect.stringContaining('http://shop.example') }]);
    expect(faults).toEqual([]);
    await close();
  });

  it('does not wait beyond the deadline for a hung purge, and reports the fault [H07]', async () => {
    const { url, close, faults } = await holding({ purge: () => new Promise(() => {}), deadline: 50 });
    expect(await (await fetch(url)).text()).toBe('written');
    expect(String(faults)).toContain('took more than 50 ms');
    await close();
  });

  it('does not wait for a failed purge, and reports the fault [H07]', async () => {
    const { url, close, faults } = await holding({ purge: () => Promise.reject(new Error('refused')) });
    expect(await (await fetch(url)).text()).toBe('written');
    expect(String(faults)).toContain('refused');
    await close();
  });
});
