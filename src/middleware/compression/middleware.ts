import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants } from 'node:zlib';
import compress from 'compression';
import type { EncodingEffort } from '../../exchange/encoded-body.js';
import { exchangeOf, HeadOrder } from '../../exchange/exchange.js';
import { dataOn } from '../../exchange/exchange-data.js';
import type { EditableHead, ResponseHeaders } from '../../exchange/response-head.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { acceptsIdentity, chooseEncoding } from '../../http/accept-encoding.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { withPlainTags } from '../../http/entity-tag.js';
import { addVary } from '../../http/vary.js';
import type { RouteTable } from '../../options/route-table.js';
import { requireSync } from '../../options/user-function.js';
import { renameTags, setCodedTag } from './etag.js';
import {
  type CompressionPolicySettings,
  type CompressionRoutePolicies,
  type CompressionSettings,
  resolveCompressionStandalone,
  type StandaloneCompressionOptions,
} from './options.js';
import { destroyStream, ownStream, takeDrains } from './stream.js';

/** Compresses responses. */
export type CompressionMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** If the middleware is mounted twice, or by two copies of the package, the first one compresses. */
const CODER = Symbol.for('hotpath.compression');

/** The `compression` package, with the parts of a request that it reads. */
type Compress = (req: Negotiated, res: ServerResponse, next: () => void) => void;
interface Negotiated {
  readonly method: string | undefined;
  readonly headers: { readonly 'accept-encoding': ContentEncoding };
  readonly coder: CompressionNegotiation;
}

/** The tools for one policy, created once. */
interface CompressionTools {
  readonly threshold: number;
  readonly compress: Compress;
  readonly effort: EncodingEffort;
}

/** @internal Applies the middleware to the head of a stored response that is sent without Express. */
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
 * The compression middleware, alone: the `compression` package with its own content negotiation.
 *
 * It compresses a response if its type is compressible, its size reaches the threshold, and the client
 * accepts one of `encodings`. It leaves alone: responses with `Content-Encoding` or `Cache-Control:
 * no-transform`, partial responses (206), and `text/event-stream`, whose events must not wait in a buffer.
 * Every response that would be compressed for some client gets `Vary: Accept-Encoding`.
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
 * Creates the middleware from resolved settings and a route table.
 *
 * @param isDeferred whether `startCompression` follows, once the request reaches the app. The `compression`
 * package is installed only for bodies that may be compressed, because it costs as much as the rest of a
 * small response.
 */
export function createCompression(
  settings: CompressionSettings,
  routes: RouteTable<CompressionRoutePolicies>,
  isDeferred = false,
): CompressionMiddleware & CompressionEditor {
  const { encodings, filter, minimumGain } = settings;
  const known = new WeakMap<CompressionPolicySettings, CompressionTools>();
  const meansOf = (policy: CompressionPolicySettings): CompressionTools => {
    let means = known.get(policy);
    if (!means) {
      const { threshold, level, brotliQuality } = policy;
      means = { threshold, compress: makeCompressor(policy), effort: { level, brotliQuality, minimumGain } };
      known.set(policy, means);
    }
    return means;
  };
  meansOf(settings);
  const compressionMiddleware: CompressionMiddleware = function compressionMiddleware(req, res, next) {
    try {
      const exchange = exchangeOf(req, res);
      const policy = exchange.match(routes)?.policy.compression ?? settings;
      const wanted = req.headers['if-none-match'];
      if (wanted?.includes('--')) req.headers['if-none-match'] = withPlainTags(wanted);
      if (policy !== false && !exchange.dataOf(CODER) && !exchange.headed) {
        const coding = chooseEncoding(req.headers['accept-encoding'], encodings);
        const means = meansOf(policy);
        // The cache hides `If-None-Match` from the handler, and so from `head`.
        const held = req.headers['if-none-match'];
        const coder: CompressionNegotiation = new CompressionNegotiation(
          exchange,
          means,
          filter,
          coding,
          held,
          () => {
            if (exchange.headed || exchange.closed) return; // after `close`, nothing would release a stream
            const negotiated = { method: req.method, headers: { 'accept-encoding': coding! }, coder };
            const waiting = takeDrains(res);
            exchange.beneath(() => {
              means.compress(negotiated, res, () => {});
              ownStream(res);
            });
            for (const { listener, isOnce } of waiting) res[isOnce ? 'once' : 'on']('drain', listener);
          },
        );
        exchange.setData(CODER, coder);
        exchange.onHead(() => coder.decide(), HeadOrder.edit);
        if (!isDeferred) coder.install();
      }
    } catch (error) {
      reportFault('compression', error);
    }
    next();
  };
  return Object.assign(compressionMiddleware, {
    isBySettings: filter === undefined,
    codingFor: (header: string | undefined) => chooseEncoding(header, encodings),
    thresholdOf(path: string) {
      const policy = routes.match(path)?.policy.compression ?? settings;
      return policy === false ? Number.POSITIVE_INFINITY : policy.threshold;
    },
    edit(heading: EditableHead, held: string | undefined) {
      const policy = heading.match(routes)?.policy.compression ?? settings;
      if (policy === false) return true;
      const coding = chooseEncoding(heading.req.headers['accept-encoding'], encodings);
      const coder = new CompressionNegotiation(heading, meansOf(policy), filter, coding, held);
      coder.decide();
      return !coder.compresses;
    },
  });
}

/** The second half of a deferred compression. Middlewares after it may call `res.flush`. */
export const startCompression: CompressionMiddleware = (_req, res, next) => {
  const flushed = res as ServerResponse & { flush?: () => void };
  if ((dataOn(res, CODER) as CompressionNegotiation | undefined)?.mayCompress) flushed.flush ??= flushNothing;
  next();
};

/** Replaces the `flush` of the `compression` package until that is installed. */
function flushNothing(): void {}

/** The decisions for one response. */
class CompressionNegotiation {
  /** Valid from `head` until the headers are sent. */
  compresses = false;
  readonly #heading: EditableHead;
  readonly #means: CompressionTools;
  readonly #filter: CompressionSettings['filter'];
  readonly #coding: ContentEncoding | undefined;
  readonly #held: string | undefined;
  /** Installs the `compression` package beneath the exchange. */
  readonly #letIn: (() => void) | undefined;
  #sendsStored = false;
  #isInstalled = false;

  /** @param held `If-None-Match` as the client sent it. */
  constructor(
    heading: EditableHead,
    means: CompressionTools,
    filter: CompressionSettings['filter'],
    coding: ContentEncoding | undefined,
    held: string | undefined,
    letIn?: () => void,
  ) {
    this.#heading = heading;
    this.#means = means;
    this.#filter = filter;
    this.#coding = coding;
    this.#held = held;
    this.#letIn = letIn;
  }

  /** Whether the client accepts a coding and the response may have a body. */
  get mayCompress(): boolean {
    return this.#coding !== undefined && this.#heading.req.method !== 'HEAD';
  }

  /** Installs the `compression` package if it may be needed. */
  install(): void {
    if (this.#isInstalled || !this.mayCompress) return;
    this.#isInstalled = true;
    this.#letIn?.();
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
    if (length !== undefined && length < this.#means.threshold) return;
    const stored = encoded?.(this.#coding, this.#means.effort);
    if (stored === null && acceptsIdentity(req.headers['accept-encoding'])) return;
    // A range of the plain body cannot be joined with a compressed copy.
    res.removeHeader('Accept-Ranges');
    for (const name of DIGESTS) res.removeHeader(name);
    setCodedTag(res, this.#coding);
    if (stored) {
      this.#send(stored, this.#coding);
      return;
    }
    this.compresses = req.method !== 'HEAD';
    if (this.compresses) this.install();
    // For HEAD too, `Content-Length` is that of the GET response (RFC 9110 §8.6).
    if (req.method === 'HEAD') res.removeHeader('Content-Length');
  }

  #send(stored: Buffer, coding: ContentEncoding): void {
    const { req, res } = this.#heading;
    this.#sendsStored = true;
    res.setHeader('Content-Encoding', coding);
    res.setHeader('Content-Length', stored.length);
    if (req.method !== 'HEAD') this.#heading.replaceBody(stored);
  }

  /** Sending the headers failed, and the app responds again, with another body. */
  #takeBack(): void {
    if (!this.#sendsStored) return;
    this.#sendsStored = false;
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
    if (/^\s*text\/event-stream\b/i.test(String(res.getHeader('content-type') ?? ''))) return false;
    if (!this.#filter) return compress.filter(req as never, res as never);
    try {
      return Boolean(requireSync(this.#filter(req, res as ServerResponse), 'filter'));
    } catch (error) {
      reportFault('compression.filter', error);
      return false;
    }
  }
}

function makeCompressor({ level, brotliQuality }: CompressionPolicySettings): Compress {
  const compressor = compress({
    threshold: 0, // compared before, when the length of a complete body is also known for HTTP/1.0
    level,
    destroy: destroyStream,
    brotli: {
      params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality },
      destroy: destroyStream,
    },
    // Called while the headers are sent. A listener beneath the exchange may have encoded the body since
    // `head`.
    filter: (req, res) => (req as unknown as Negotiated).coder.compresses && !isUntouchable(res),
  } as compress.CompressionOptions);
  return compressor as unknown as Compress;
}

/** Whether the body is already encoded (RFC 9110 §8.4) or must not change (RFC 9111 §5.2.2.6). */
function isUntouchable(res: ResponseHeaders): boolean {
  const coding = res.getHeader('content-encoding');
  if (coding !== undefined && String(coding).trim().toLowerCase() !== 'identity') return true;
  const cacheControl = res.getHeader('cache-control');
  return cacheControl !== undefined && /(?:^|[,\s])no-transform(?:$|[,\s])/i.test(String(cacheControl));
}
