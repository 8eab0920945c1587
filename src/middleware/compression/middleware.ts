import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EncodingEffort } from '../../exchange/encoded-body.js';
import { type Exchange, exchangeOf, HeadOrder } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { EXCHANGE } from '../../exchange/patch.js';
import type { EditableHead, ResponseHeaders } from '../../exchange/response-head.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { acceptsIdentity, chooseEncoding } from '../../http/accept-encoding.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { withPlainTags } from '../../http/entity-tag.js';
import { addVary } from '../../http/vary.js';
import type { HotpathRequest } from '../../options/request-types.js';
import type { RouteTable } from '../../options/route-table.js';
import { requireSync } from '../../options/user-function.js';
import { renameTags, setCodedTag } from './etag.js';
import { compressibleByType } from './filter.js';
import {
  type CompressionPolicySettings,
  type CompressionRoutePolicies,
  type CompressionSettings,
  resolveCompressionStandalone,
  type StandaloneCompressionOptions,
} from './options.js';
import { createResponseEncoder } from './stream.js';

/** Compresses responses. */
export type CompressionMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** If the middleware is mounted twice, or by two copies of the package, the first one compresses. */
const CODER = Symbol.for('hotpath.compression');

/** @internal Edits the head of a stored response as the middleware would, for the front door. */
export interface CompressionEditor {
  /** The coding for a request; `undefined` for none. Cached by field value. */
  codingFor(acceptEncoding: string | undefined): ContentEncoding | undefined;
  /**
   * @param held `If-None-Match`, with plain tags.
   * @returns whether the body needs no compression while it is sent.
   */
  edit(heading: EditableHead, held: string | undefined): boolean;
  /** The smallest body that is compressed under a path, in bytes; `Infinity` if compression is off. */
  thresholdOf(path: string): number;
  /** `undefined` if the app's `filter` decides, which may read the request. */
  readonly isBySettings: boolean;
}

/** Digests that become invalid: RFC 9530, and its predecessors RFC 3230 and RFC 1864. */
const DIGESTS = ['content-digest', 'repr-digest', 'digest', 'content-md5'];

/**
 * The compression middleware, alone.
 *
 * It compresses a response if its type is compressible, its size reaches the threshold, and the client
 * accepts one of `encodings`. It leaves alone: responses with `Content-Encoding` or `Cache-Control:
 * no-transform`, partial responses (206), and `text/event-stream`, whose events must not wait in a buffer.
 * Every response that would be compressed for some client gets `Vary: Accept-Encoding`.
 *
 * Text that the handler writes in pieces is flushed when it pauses (`flushAfter`), and by `res.flush()`.
 *
 * A body that the cache has already encoded is sent unchanged, with its own tag.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function compression(options?: StandaloneCompressionOptions): CompressionMiddleware {
  const { settings, routes } = resolveCompressionStandalone(options);
  return createCompression(settings, routes);
}

/**
 * The default of the option `filter`, to be called from one of your own. It tells whether a response has a `Content-Type` that
 * can be compressed, by `mime-db`.
 */
compression.filter = compressibleByType;

/**
 * The same from resolved settings and a table of routes that others may share.
 *
 * @param isDeferred `startCompression` follows, once the request gets to the app.
 */
export function createCompression(
  settings: CompressionSettings,
  routes: RouteTable<CompressionRoutePolicies>,
  isDeferred = false,
): CompressionMiddleware & CompressionEditor {
  const { encodings, enforceEncoding, filter } = settings;
  const codingFor = (header: string | undefined) =>
    header || enforceEncoding === 'identity' ? chooseEncoding(header, encodings) : enforceEncoding;
  const compressionMiddleware: CompressionMiddleware = function compressionMiddleware(req, res, next) {
    try {
      const exchange = exchangeOf(req, res);
      const policy = exchange.match(routes)?.policy.compression ?? settings;
      readPlainTags(req);
      if (policy !== false && !exchange.dataOf(CODER) && !exchange.headed) {
        const coding = codingFor(req.headers['accept-encoding']);
        // The cache hides `If-None-Match` from the handler, and so from `head`.
        const held = req.headers['if-none-match'];
        const coder = new CompressionNegotiation(exchange, settings, policy, coding, held, exchange);
        exchange.setData(CODER, coder);
        exchange.onHead(() => coder.decide(), HeadOrder.edit);
      }
      if (!isDeferred) offerFlush(res);
    } catch (error) {
      reportFault('compression', error);
    }
    next();
  };
  return Object.assign(compressionMiddleware, {
    isBySettings: filter === undefined,
    codingFor,
    thresholdOf(path: string) {
      const policy = routes.match(path)?.policy.compression ?? settings;
      return policy === false ? Number.POSITIVE_INFINITY : policy.threshold;
    },
    edit(heading: EditableHead, held: string | undefined) {
      const policy = heading.match(routes)?.policy.compression ?? settings;
      if (policy === false) return true;
      const coding = codingFor(heading.req.headers['accept-encoding']);
      const coder = new CompressionNegotiation(heading, settings, policy, coding, held);
      coder.decide();
      return !coder.compresses;
    },
  });
}

/** The second half of a deferred compression. Middlewares after it may call `res.flush`. */
export const startCompression: CompressionMiddleware = (_req, res, next) => {
  offerFlush(res);
  next();
};

type Flushable = ServerResponse & { flush?: () => void; [EXCHANGE]?: { flush(): void } };

/** `res.flush()`, as the `compression` package has it: on every response, whether it is compressed or not. */
function offerFlush(res: Flushable): void {
  res.flush ??= flushResponse;
}

function flushResponse(this: Flushable): void {
  this[EXCHANGE]?.flush();
}

/** Adds the tags of the app to conditions that name compressed copies (`withPlainTags`). */
function readPlainTags({ headers }: IncomingMessage): void {
  const { 'if-none-match': noneMatch, 'if-match': match } = headers;
  if (noneMatch?.includes('--')) headers['if-none-match'] = withPlainTags(noneMatch);
  if (match?.includes('--')) headers['if-match'] = withPlainTags(match);
}

/** The decisions for one response. */
class CompressionNegotiation {
  /** Valid from `head` until the headers are sent. */
  compresses = false;
  readonly #heading: EditableHead;
  readonly #settings: CompressionSettings;
  readonly #policy: CompressionPolicySettings;
  readonly #coding: ContentEncoding | undefined;
  readonly #held: string | undefined;
  /** Absent for the head of a stored response that is sent without Express. */
  readonly #exchange: Exchange | undefined;
  #hasSetCoding = false;

  /** @param held `If-None-Match` as the client sent it. */
  constructor(
    heading: EditableHead,
    settings: CompressionSettings,
    policy: CompressionPolicySettings,
    coding: ContentEncoding | undefined,
    held: string | undefined,
    exchange?: Exchange,
  ) {
    this.#heading = heading;
    this.#settings = settings;
    this.#policy = policy;
    this.#coding = coding;
    this.#held = held;
    this.#exchange = exchange;
  }

  decide(): void {
    const { req, res } = this.#heading;
    this.compresses = false;
    this.#takeBack();
    const { length, encoded } = this.#heading;
    // A 304 has neither type nor length, but may refer to a compressed response.
    const isNotModified = res.statusCode === 304;
    if (isNotModified ? isUntouchable(res) : !this.#isCompressible()) return;
    res.setHeader(
      'Vary',
      addVary(res.getHeader('Vary') as string | string[] | undefined, ['Accept-Encoding']),
    );
    if (isNotModified) {
      renameTags(res, this.#held, this.#coding);
      return;
    }
    if (this.#coding === undefined || length === 0) return;
    if (length !== undefined && length < this.#policy.threshold) return;
    const stored = encoded?.(this.#coding, this.#effort);
    if (stored === null && acceptsIdentity(req.headers['accept-encoding'])) return;
    // A range of the plain body cannot be joined with a compressed copy.
    res.removeHeader('Accept-Ranges');
    for (const name of DIGESTS) res.removeHeader(name);
    setCodedTag(res, this.#coding);
    if (stored) this.#send(stored, this.#coding);
    // RFC 9110 §8.6: on HEAD too, a length is the length that GET would send.
    else if (req.method === 'HEAD') res.removeHeader('Content-Length');
    else this.#encode(this.#coding, length);
  }

  get #effort(): EncodingEffort {
    const { level, brotliQuality, zstdLevel } = this.#policy;
    return { level, brotliQuality, zstdLevel, minimumGain: this.#settings.minimumGain };
  }

  #send(stored: Buffer, coding: ContentEncoding): void {
    const { req, res } = this.#heading;
    this.#setCoding(coding);
    res.setHeader('Content-Length', stored.length);
    if (req.method !== 'HEAD') this.#heading.replaceBody(stored);
  }

  #encode(coding: ContentEncoding, length: number | undefined): void {
    this.compresses = true;
    const exchange = this.#exchange;
    if (!exchange) return;
    this.#setCoding(coding);
    exchange.encodeBody((output) => createResponseEncoder(exchange, output, coding, this.#policy, length));
  }

  #setCoding(coding: ContentEncoding): void {
    this.#hasSetCoding = true;
    this.#heading.res.setHeader('Content-Encoding', coding);
  }

  /** Sending the headers failed, and the app sends another response. */
  #takeBack(): void {
    if (!this.#hasSetCoding) return;
    this.#hasSetCoding = false;
    const { res } = this.#heading;
    if (res.getHeader('content-encoding') === this.#coding) res.removeHeader('Content-Encoding');
  }

  #isCompressible(): boolean {
    const { req, res } = this.#heading;
    const { statusCode } = res;
    if (statusCode === 204 || statusCode === 205 || statusCode === 206 || res.hasHeader('content-range')) {
      return false;
    }
    if (isUntouchable(res)) return false;
    if (/^\s*text\/event-stream\b/i.test(readHeaderText(res, 'content-type') ?? '')) return false;
    const { filter } = this.#settings;
    if (!filter) return compressibleByType(req, res);
    try {
      return Boolean(requireSync(filter(req as HotpathRequest, res as ServerResponse), 'filter'));
    } catch (error) {
      reportFault('compression.filter', error);
      return false;
    }
  }
}

/** RFC 9110 §8.4, RFC 9111 §5.2.2.6: the body is coded already, or nobody may change it. */
function isUntouchable(res: ResponseHeaders): boolean {
  const coding = readHeaderText(res, 'content-encoding');
  if (coding !== undefined && coding.trim().toLowerCase() !== 'identity') return true;
  const cacheControl = readHeaderText(res, 'cache-control');
  return cacheControl !== undefined && /(?:^|[,\s])no-transform(?:$|[,\s])/i.test(cacheControl);
}
