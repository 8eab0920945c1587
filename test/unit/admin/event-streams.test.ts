import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { EventStreams } from '../../../src/admin/performance-api/event-streams.js';
import { stopClock } from '../../helpers/clock.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { listen, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Streams of events of one megabyte. Only `setInterval` is simulated; the sockets are real. */
async function serve() {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const snapshot = vi.fn(() => ({ text: 'x'.repeat(1_000_000) }));
  const streams = new EventStreams(snapshot, 10, () => false);
  const app: RequestListener = (req, res) => streams.open(req, res);
  const { port } = later(await listen(app));
  const open = async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'readable');
    return socket;
  };
  return { streams, snapshot, open };
}

describe('event streams', () => {
  it('hold up neither memory nor others for a client that does not read, and disconnect it', async () => {
    const { streams, open, snapshot } = await serve();
    stopClock();
    const slow = await open();
    const fast = await open();
    let received = 0;
    fast.on('data', (chunk) => void (received += chunk.length));
    for (let second = 1; second <= 40; second++) {
      vi.advanceTimersByTime(1000);
      await waitFor(() => received > (second + 1) * 1_000_000);
    }
    expect(streams.size).toBe(1);
    expect(snapshot).toHaveBeenCalledTimes(1 + 40);
    slow.resume();
    await once(slow, 'close');
    fast.destroy();
    await waitFor(() => streams.size === 0);
    vi.advanceTimersByTime(5000);
    // No client, no snapshot.
    expect(snapshot).toHaveBeenCalledTimes(1 + 40);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('end after ten minutes, so that the client is authorized again', async () => {
    const { streams, open } = await serve();
    const client = await open();
    let end = '';
    client.on('data', (chunk: Buffer) => {
      end = chunk.toString('latin1').slice(-5);
    });
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now + 601_000);
    vi.advanceTimersByTime(1000);
    clock.mockRestore();
    expect(streams.size).toBe(0);
    await waitFor(() => end === '0\r\n\r\n');
    client.destroy();
  });
});
