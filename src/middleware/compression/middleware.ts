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

/** Mounted again, or by two copies of the package, a response is compressed by the first. */
const CODER = Symbol.for('hotpath.compression');

/** The `compression` package, which reads only these of a request. */
type Compress = (req: Negotiated, res: ServerResponse, next: () => void) => void;
interface Negotiated {
  readonly method: string | undefined;
  readonly headers: { readonly 'accept-encoding': ContentEncoding };
  readonly coder: CompressionNegotiation;
}

/** How responses are compressed under one policy, now or for later. */
interface CompressionTools {
  readonly threshold: number;
  readonly compress: Compress;
  readonly effort: EncodingEffort;
}

/** @internal What the middleware does to the head of a stored answer, for one that it never sees as a response. */
export interface CompressionEditor {
  /** The coding for a request; `undefined` where the answer goes as it is. Read once for each field value. */
  codingFor(acceptEncoding: string | undefined): ContentEncoding | undefined;
  /**
   * @param held `If-None-Match`, with plain tags.
   * @returns whether that is all: nothing is left to be compressed while it is sent.
   */
  edit(heading: EditableHead, held: string | undefined): boolean;
  /** What a body under a path must have to be compressed. Bytes; none is long enough where that is turned off. */
  thresholdOf(path: string): number;
  /** `undefined`: the function of the user that says what is compressed may look at the request. */
  readonly isBySettings: boolean;
}

/** Digests of what is no longer sent: RFC 9530, and its forerunners RFC 3230 and RFC 1864. */
const DIGESTS = ['content-digest', 'repr-digest', 'digest', 'content-md5'];

/**
 * The compression middleware, alone: the `compression` package under a negotiation of our own.
 *
 * A response is compressed when its type can gain by it, it is not smaller than the threshold, and the client
 * accepts one of `encodings`. Left alone: what has a `Content-Encoding`, `Cache-Control: no-transform`, a
 * part of a representation (206), and `text/event-stream`, whose events must not wait in a buffer. Every
 * response that could be compressed for some client has `Vary: Accept-Encoding`.
 *
 * What the cache above it has encoded already goes out as it is, with a tag of its own.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for options that make no sense.
 */
export function compression(options?: StandaloneCompressionOptions): CompressionMiddleware {
  const { settings, routes } = resolveCompressionStandalone(options);
  return createCompression(settings, routes);
}

/**
 * The same from resolved settings and a table of routes that others may share.
 *
 * @param isDeferred `startCompression` follows, once the request gets to the app. The `compression` package is let in
 * only where a body is about to be compressed: it costs as much as the rest of a small response.
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
            if (exchange.headed || exchange.closed) return; // after `close` nobody would let go of a stream
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

/** The second half of a deferred compression: whoever comes after it may flush. */
export const startCompression: CompressionMiddleware = (_req, res, next) => {
  const flushed = res as ServerResponse & { flush?: () => void };
  if ((dataOn(res, CODER) as CompressionNegotiation | undefined)?.mayCompress) flushed.flush ??= flushNothing;
  next();
};

/** What stands for the `flush` of the `compression` package until that is let in, which most responses do without. */
function flushNothing(): void {}

/** What is decided for one response. */
class CompressionNegotiation {
  /** Holds from `head` until the headers are sent. */
  compresses = false;
  readonly #heading: EditableHead;
  readonly #means: CompressionTools;
  readonly #filter: CompressionSettings['filter'];
  readonly #coding: ContentEncoding | undefined;
  readonly #held: string | undefined;
  /** Lets the `compression` package in beneath the exchange. */
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

  /** A coding is wanted, and there may be a body to put it on. */
  get mayCompress(): boolean {
    return this.#coding !== undefined && this.#heading.req.method !== 'HEAD';
  }

  /** Lets the `compression` package in, where it may be needed. */
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
    // A 304 has no type and no length of its own: it may stand for a response that was compressed.
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
    // Parts of the plain form can't be joined with a compressed copy.
    res.removeHeader('Accept-Ranges');
    for (const name of DIGESTS) res.removeHeader(name);
    setCodedTag(res, this.#coding);
    if (stored) {
      this.#send(stored, this.#coding);
      return;
    }
    this.compresses = req.method !== 'HEAD';
    if (this.compresses) this.install();
    // RFC 9110 §8.6: on HEAD too, a length is the length that GET would send.
    if (req.method === 'HEAD') res.removeHeader('Content-Length');
  }

  #send(stored: Buffer, coding: ContentEncoding): void {
    const { req, res } = this.#heading;
    this.#sendsStored = true;
    res.setHeader('Content-Encoding', coding);
    res.setHeader('Content-Length', stored.length);
    if (req.method !== 'HEAD') this.#heading.replaceBody(stored);
  }

  /** Sending the headers has failed, and the app answers anew, with another body. */
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
    threshold: 0, // decided before, where the length of a body in one piece is known for HTTP/1.0 too
    level,
    destroy: destroyStream,
    brotli: {
      params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality },
      destroy: destroyStream,
    },
    // Asked while the headers go. Whoever listened beneath us may have coded the body since `head`.
    filter: (req, res) => (req as unknown as Negotiated).coder.compresses && !isUntouchable(res),
  } as compress.CompressionOptions);
  return compressor as unknown as Compress;
}

/** RFC 9110 §8.4, RFC 9111 §5.2.2.6: the body is coded already, or nobody may change it. */
function isUntouchable(res: ResponseHeaders): boolean {
  const coding = res.getHeader('content-encoding');
  if (coding !== undefined && String(coding).trim().toLowerCase() !== 'identity') return true;
  const cacheControl = res.getHeader('cache-control');
  return cacheControl !== undefined && /(?:^|[,\s])no-transform(?:$|[,\s])/i.test(String(cacheControl));
}
