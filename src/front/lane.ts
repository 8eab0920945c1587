import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { type Origin, originOf } from '../cache/context.js';
import { EXPRESS } from '../cache/headers.js';
import type { Hits } from '../cache/hits.js';
import { visitorConditions, writeStored } from '../cache/serve.js';
import type { CacheState } from '../cache/state.js';
import { shownKey } from '../cache/status.js';
import { acceptsIdentity } from '../http/accept-encoding.js';
import { formatCacheStatus } from '../http/cache-status.js';
import { withPlainTags } from '../http/coded-tag.js';
import { type Conditions, notModified } from '../http/conditional.js';
import type { CacheControlEditor } from '../middleware/cache-control.js';
import type { CompressionEditor } from '../middleware/compression.js';
import type { MetricsEditor } from '../middleware/metrics.js';
import type { TimingEditor } from '../middleware/timing.js';
import type { StoredResponse } from '../store/entry.js';
import { Accounts } from './account.js';
import { type Head, PreparedEntry, StoredHeading } from './prepared.js';
import { isForwarded, PlainRequests } from './request.js';
import { isUntouched, sendHead } from './send.js';
import { asSeenBy, type ExpressApp } from './view.js';

/** The middlewares of one config, as far as they have a part in an answer from the store. */
export interface LaneParts {
  readonly state: CacheState;
  readonly hits: Hits;
  readonly timing: TimingEditor | undefined;
  readonly metrics: MetricsEditor | undefined;
  readonly cacheControl: CacheControlEditor | undefined;
  readonly compression: CompressionEditor | undefined;
}

/** What an `Accept-Encoding` comes to. */
interface Acceptance {
  readonly coding: string;
  readonly identity: boolean;
}

/** Different values of `Accept-Encoding` that are remembered; there are a handful of honest ones. */
const MOST_ACCEPTANCES = 100;

/**
 * Answers with what is stored, at once: without an exchange, and before Express where there is a door in front of it.
 * It takes plain requests alone, whose answer nobody else has a hand in; all others go through the middlewares, and
 * both ways lead to the same answer.
 *
 * What of an answer's head is always the same is worked out once, by the very code of the middlewares.
 */
export class Lane {
  readonly #parts: LaneParts;
  readonly #requests: PlainRequests;
  readonly #accounts: Accounts;
  readonly #acceptances = new Map<string, Acceptance>();
  readonly #idHeader: string | undefined;
  readonly #timeHeader: string | undefined;
  #open = true;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.#requests = new PlainRequests(parts.state.settings);
    this.#accounts = new Accounts(parts.metrics, parts.timing);
    const { requestId = false, header = false } = parts.timing?.settings ?? {};
    this.#idHeader = requestId ? requestId.header : undefined;
    this.#timeHeader = header || undefined;
  }

  /**
   * @param app the one that it stands in front of; absent inside it.
   * @returns whether it has answered; otherwise nothing has happened.
   */
  answer(req: IncomingMessage, res: ServerResponse, app?: ExpressApp): boolean {
    if (!this.#open) return false;
    try {
      return this.#answer(req, res, app);
    } catch (error) {
      this.#parts.state.fault(error, 'front');
      // Half an answer is none, and nobody else can give one any more.
      if (res.headersSent) res.destroy();
      return res.headersSent;
    }
  }

  /** From now on it answers nothing. Idempotent. */
  close(): void {
    this.#open = false;
  }

  #answer(req: IncomingMessage, res: ServerResponse, app: ExpressApp | undefined): boolean {
    const startedAt = performance.now();
    if (!this.#requests.has(req) || !isUntouched(res)) return false;
    const express = app ? app.enabled('x-powered-by') : hasExpressHeader(res);
    if (express === undefined) return false;
    const { hits, state } = this.#parts;
    const target = req.url as string;
    const origin = this.#originOf(req, app);
    const entry = hits.find(req, origin, target);
    if (!entry) return false;
    const prepared = this.#preparedOf(entry, target);
    if (!(app ? prepared.isPublic : prepared.isServed)) return false;
    const { cookie } = req.headers;
    if (cookie !== undefined && prepared.rule?.vary.cookies === undefined) return false;
    const freshness = hits.freshness(entry, prepared.rule);
    if (!freshness) return false;
    const head = this.#headFor(req, entry, prepared, target);
    if (!head) return false;
    const body = head.coded ? state.encodings.find(entry, head.coded.coding, head.coded.effort) : entry.body;
    if (!body) return false;

    const requestId = this.#parts.timing?.idOf(req);
    state.counts.hits++;
    state.counts.memory.hits++;
    let text = head.text;
    if (express && !head.names.has('x-powered-by') && !entry.removed.includes('x-powered-by')) {
      text += `X-Powered-By: ${EXPRESS}\r\n`;
    }
    text += `Age: ${freshness.age}\r\n`;
    const { statusHeader } = state.settings;
    if (statusHeader) {
      const key = shownKey(state, { origin, target: entry.url });
      text += `X-Cache: HIT\r\nCache-Status: ${formatCacheStatus({ hit: true, ttl: freshness.ttl, key })}\r\n`;
    }
    text += this.#timingLines(head, requestId, startedAt);
    const framing =
      head.status === 304 || head.status === 204
        ? ['Date', entry.date]
        : ['Date', entry.date, 'Content-Length', String(body.length)];
    sendHead(res, head.status, text, framing);
    if (head.status === 304 || head.status === 204 || req.method === 'HEAD') res.end();
    else res.end(body);
    this.#accounts.ended({ req, res, app, template: entry.template, requestId, startedAt });
    return true;
  }

  #originOf(req: IncomingMessage, app: ExpressApp | undefined): Origin {
    if (isForwarded(req)) return originOf(app ? asSeenBy(app, req) : req);
    const rawHost = req.headers.host ?? '';
    const scheme = (req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http';
    return { scheme, rawHost, host: rawHost };
  }

  #preparedOf(entry: StoredResponse, target: string): PreparedEntry {
    if (entry.prepared instanceof PreparedEntry) return entry.prepared;
    const { hits, compression } = this.#parts;
    const isServed = compression?.isBySettings !== false;
    const prepared = new PreparedEntry(entry, hits.ruleOf(target), isServed);
    entry.prepared = prepared;
    return prepared;
  }

  #headFor(
    req: IncomingMessage,
    entry: StoredResponse,
    prepared: PreparedEntry,
    target: string,
  ): Head | undefined {
    const { headers } = req;
    const accepted = this.#accepted(headers['accept-encoding']);
    if (!accepted.identity) return undefined;
    const given = visitorConditions(req);
    const isConditional = given.ifNoneMatch !== undefined || given.ifModifiedSince !== undefined;
    const { ifNoneMatch } = given;
    const held =
      ifNoneMatch !== undefined && this.#parts.compression ? withPlainTags(ifNoneMatch) : ifNoneMatch;
    const conditions: Conditions = isConditional ? { ...given, ifNoneMatch: held } : NO_CONDITIONS;
    let variation = headers.cookie === undefined ? accepted.coding : `${accepted.coding} cookie`;
    const { etag, lastModified = entry.date } = entry;
    const isConfirmed =
      isConditional && entry.status === 200 && notModified(conditions, { etag, lastModified });
    if (isConfirmed) variation += ` ${held}`;
    const known = isConfirmed ? prepared.notModified(variation) : prepared.whole(variation);
    if (known || req.method !== 'GET') return known;

    const { cacheControl, compression, state } = this.#parts;
    const path = target.split('?', 1)[0] as string;
    const heading = new StoredHeading(req, path, entry, (coding, effort) =>
      state.encodings.find(entry, coding, effort),
    );
    writeStored(heading, { head: entry, length: entry.body.length }, prepared.rule, conditions);
    cacheControl?.edit(heading);
    if (compression && !compression.edit(heading, held)) return undefined;
    const head = heading.toHead();
    prepared.keep(variation, head);
    // It would not fit.
    if (!state.entries.store.resize(entry.key)) entry.prepared = undefined;
    return head;
  }

  #accepted(header: string | undefined): Acceptance {
    if (header === undefined) return NO_ENCODING;
    let known = this.#acceptances.get(header);
    if (!known) {
      const coding = this.#parts.compression?.codingFor(header) ?? '';
      known = { coding, identity: acceptsIdentity(header) };
      if (this.#acceptances.size >= MOST_ACCEPTANCES) this.#acceptances.clear();
      this.#acceptances.set(header, known);
    }
    return known;
  }

  #timingLines(head: Head, requestId: string | undefined, startedAt: number): string {
    const { timing, state } = this.#parts;
    if (!timing) return '';
    let text = '';
    if (this.#idHeader && !head.names.has(this.#idHeader.toLowerCase()))
      text += `${this.#idHeader}: ${requestId}\r\n`;
    const elapsed = Math.max(0, performance.now() - startedAt).toFixed(3);
    if (this.#timeHeader && !head.names.has(this.#timeHeader.toLowerCase()))
      text += `${this.#timeHeader}: ${elapsed}ms\r\n`;
    if (timing.settings.serverTiming) {
      text += `Server-Timing: total;dur=${elapsed}${state.settings.statusHeader ? ', cache;desc=HIT' : ''}\r\n`;
    }
    return text;
  }
}

const NO_ENCODING: Acceptance = { coding: '', identity: true };
const NO_CONDITIONS: Conditions = Object.freeze({});

/** Whether Express's own header is set already; `undefined` where others are, which have to go with the answer. */
function hasExpressHeader(res: ServerResponse): boolean | undefined {
  const names = res.getHeaderNames();
  if (names.length === 0) return false;
  return names.length === 1 && res.getHeader('x-powered-by') === EXPRESS ? true : undefined;
}
