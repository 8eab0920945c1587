import { EventEmitter } from 'node:events';
import { type Response, Router } from 'express';
import type { Product } from './products.js';

/** The events of the shop. */
export type ShopEvents = EventEmitter<{ product: [Product]; closing: [] }>;

/** Creates the emitter. Every open event stream is a listener, so their number has no limit. */
export function shopEvents(): ShopEvents {
  return new EventEmitter<{ product: [Product]; closing: [] }>().setMaxListeners(0);
}

const PULSE_MS = 5_000;

/**
 * `GET /events`: server-sent events (WHATWG HTML, 9.2). One at once, one for every change, and a heartbeat.
 */
export function eventRoutes(events: ShopEvents): Router {
  const router = Router();

  router.get('/events', (req, res) => {
    // no-transform, because an encoder would hold small events back until its buffer is full.
    res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store, no-transform' });
    // It has no body, so it would wait for one for ever.
    if (req.method === 'HEAD') return void res.end();
    res.write(`retry: 2000\n${event('hello', { at: new Date() })}`);
    const sendProduct = ({ id, name, priceCents }: Product) => send(res, 'product', { id, name, priceCents });
    const sendPulse = () =>
      send(res, 'pulse', { at: new Date(), listeners: events.listenerCount('product') });
    const pulse = setInterval(sendPulse, PULSE_MS).unref();
    events.on('product', sendProduct);
    const stop = () => {
      clearInterval(pulse);
      events.off('product', sendProduct);
      events.off('closing', end);
    };
    // Nothing is written after the end, which may wait for an earlier response on the same connection.
    const end = () => {
      stop();
      res.end();
    };
    events.on('closing', end);
    res.on('close', stop);
  });

  return router;
}

/** A client with this many unread bytes is disconnected; it reconnects by itself. */
const MAX_WAITING_BYTES = 64 * 1024;

function send(res: Response, name: string, data: unknown): void {
  if (res.writableLength > MAX_WAITING_BYTES) res.destroy();
  else res.write(event(name, data));
}

function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
