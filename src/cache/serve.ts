import type { CacheRuleSettings } from '../config/cache.js';
import type { Exchange } from '../exchange/exchange.js';
import { notModified } from '../http/conditional.js';
import type { StoredResponse } from '../store/entry.js';
import { finishHeaders } from './fill.js';
import { writeFields } from './headers.js';
import type { CacheState } from './state.js';
import { writeStatus } from './status.js';

/** Answers a request with a stored response (RFC 9111 §4), or with 304 where the visitor has it (§4.3.2). */
export function serve(
  state: CacheState,
  exchange: Exchange,
  entry: StoredResponse,
  rule: CacheRuleSettings | undefined,
  collapsed: boolean,
): void {
  const { req, res } = exchange;
  const now = state.clock();
  const conditions = {
    ifNoneMatch: req.headers['if-none-match'],
    ifModifiedSince: req.headers['if-modified-since'],
  };
  const bodyless = entry.status === 200 && notModified(conditions, entry);
  res.statusCode = bodyless ? 304 : entry.status;
  for (const name of entry.removed) res.removeHeader(name);
  writeFields(res, entry.headers, bodyless);
  res.setHeader('Date', entry.date);
  res.setHeader('ETag', entry.etag);
  res.setHeader('Age', Math.floor(entry.initialAge + (now - entry.storedAt) / 1000));
  const ttl = Math.floor((entry.freshUntil - now) / 1000);
  writeStatus(state, exchange, 'HIT', { hit: true, ttl, collapsed });
  finishHeaders(res, rule);
  if (entry.template !== undefined) exchange.template = entry.template;
  if (bodyless) {
    res.end();
    return;
  }
  // RFC 9110 §8.6: never with a 204.
  if (entry.status !== 204) res.setHeader('Content-Length', entry.body.length);
  // Whoever patched the response sees and may write into what it is given: a copy, plain. The body is not theirs.
  const { pristine } = exchange;
  if (pristine) exchange.encoded = (coding, effort) => state.encodings.find(entry, coding, effort);
  try {
    if (req.method === 'HEAD') res.end();
    else res.end(pristine ? entry.body : Buffer.from(entry.body));
  } finally {
    exchange.encoded = undefined; // should this fail, the app answers with a body of its own
  }
}
