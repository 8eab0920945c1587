import type { ReadStream, Stats } from 'node:fs';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { extname, resolve as resolvePath } from 'node:path';
import encodeUrl from 'encodeurl';
import escapeHtml from 'escape-html';
import { contentType } from 'mime-types';
import send from 'send';
import { cacheOf } from '../cache/request/handler-hints.js';
import { chooseEncoding } from '../http/accept-encoding.js';
import { pathAndQueryOf, splitTarget } from '../http/request-target.js';
import { addVary } from '../http/vary.js';
import { configError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import { callHook, guarded, unawaited } from '../runtime/guard.js';
import { reportFault } from '../runtime/report-fault.js';
import { isHashedName, mayBeHashedByVite } from './hashed-names.js';
import { type AssetsSettings, resolveAssets, type StaticAssetsOptions } from './options.js';
import { Preloads, pathBelow } from './preload.js';
import { findVariants, sourceOfVariant, statFile, type Variant, type VariantCoding } from './variants.js';

/** Serves files: mount it with `app.use(path, handler)`, or call it as a listener of `node:http`. */
export type StaticAssets = (
  req: IncomingMessage,
  res: ServerResponse,
  next?: (error?: unknown) => void,
) => void;

/** RFC 8246. Caches need not keep anything for longer (RFC 9111 §1.2.2 has a limit of 68 years). */
const FOR_A_YEAR = 'public, max-age=31536000, immutable';

/** Headers of a file that must not stay on the response to its error: a client would wait for its whole length. */
const OF_A_FILE = [
  'Content-Encoding',
  'Content-Length',
  'Content-Type',
  'ETag',
  'Last-Modified',
  'Cache-Control',
  'Link',
];

/** A failure of `send`, made by `http-errors`. */
type SendError = Error & { readonly statusCode?: number; readonly status?: number };

/** The parts that all requests share. */
interface Shared {
  readonly root: string;
  readonly settings: AssetsSettings;
  readonly codings: readonly VariantCoding[];
  readonly preloads: Preloads;
  readonly sendOptions: send.SendOptions;
}

/**
 * Serves the files of a folder as `serve-static` does, and their precompressed variants (`hotpath precompress`) where the
 * client accepts one. The coding with the highest weight wins; among equals the smallest variant.
 *
 * - Each variant has its own `ETag`, and ranges and conditions apply to it. Files with variants get `Vary: Accept-Encoding`.
 * - A variant older than its source is not served, and none has a URL of its own.
 * - Files with hashed names are kept for a year (`immutable`); all others are revalidated.
 * - The response cache stores none of them: the operating system keeps files in memory already.
 *
 * @param root the folder, relative to the working directory. Symbolic links in it are followed.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for an invalid root or invalid options.
 */
export function staticAssets(root: string, options?: StaticAssetsOptions): StaticAssets {
  if (typeof root !== 'string' || root === '' || root.includes('\0')) {
    const message = 'expected the path of a folder';
    throw configError([{ path: 'staticAssets root', message, received: formatValue(root) }]);
  }
  const settings = resolveAssets(options);
  const folder = resolvePath(root);
  const shared: Shared = {
    root: folder,
    settings,
    codings: settings.variants || [],
    preloads: new Preloads(settings.preload, settings.manifest),
    sendOptions: {
      root: folder,
      index: [...settings.index],
      extensions: [...settings.extensions],
      dotfiles: settings.dotfiles,
      etag: settings.etag,
      lastModified: settings.lastModified,
      acceptRanges: settings.acceptRanges,
      cacheControl: settings.cacheControl,
      maxAge: settings.maxAge * 1000,
    },
  };
  return function staticAssetsHandler(req, res, next = endWithStatus(res)) {
    new AssetRequest(shared, req, res, next).respond();
  };
}

/** One request. */
class AssetRequest {
  readonly #shared: Shared;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #next: (error?: unknown) => void;
  /** The status and the headers that the app had set. */
  #before: { readonly status: number; readonly headers: OutgoingHttpHeaders } = { status: 200, headers: {} };
  #isFound = false;
  #hasVariants = false;
  #isReading = false;
  /** Sends the file itself, while a variant of it is tried. */
  #sendSource: (() => void) | undefined;

  constructor(shared: Shared, req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) {
    this.#shared = shared;
    this.#req = req;
    this.#res = res;
    this.#next = next;
  }

  respond(): void {
    const { settings, sendOptions } = this.#shared;
    const { method } = this.#req;
    if (method !== 'GET' && method !== 'HEAD') {
      if (settings.fallthrough) this.#next();
      else this.#refuseMethod();
      return;
    }
    const stream = send(this.#req, this.#requestedPath(), sendOptions);
    stream.on(
      'directory',
      guarded('staticAssets', () => this.#redirect(stream)),
    );
    stream.on(
      'error',
      guarded('staticAssets', (error: SendError) => this.#fail(error)),
    );
    stream.on(
      'stream',
      guarded('staticAssets', (file: ReadStream) => this.#requireWhole(file)),
    );
    this.#serveVariants(stream);
    stream.pipe(this.#res);
  }

  /** A file that is replaced by a shorter one after its size was read would leave the client waiting for the rest. */
  #requireWhole(file: ReadStream): void {
    const res = this.#res;
    this.#isReading = true;
    const length = Number(res.getHeader('Content-Length'));
    file.once(
      'end',
      guarded('staticAssets', () => {
        if (file.bytesRead < length) res.destroy();
      }),
    );
  }

  /** The path below the mount; empty for the mount itself without its slash, so that it is redirected. */
  #requestedPath(): string {
    const { path } = splitTarget(withoutFragment(this.#req.url));
    return path === '/' && !originalTarget(this.#req).path.endsWith('/') ? '' : path;
  }

  /** `send` finds the file and calls `send` of its own, where a variant takes the place of the file. */
  #serveVariants(stream: send.SendStream): void {
    const sendFile = stream.send.bind(stream);
    const isRangeFresh = stream.isRangeFresh.bind(stream);
    stream.send = (path, stats) => {
      void unawaited(
        this.#sendBest(stream, path, stats!, (variant, headers) => {
          stream.once('headers', guarded('staticAssets', headers));
          const { path: file, stats: read } = variant ?? { path, stats: stats! };
          this.#withSuffix(read.size, () => sendFile(file, read));
        }),
      );
    };
    // Variants may have the same date, so it does not say which one the client has a part of (RFC 9110 §8.8.2.2).
    stream.isRangeFresh = () =>
      (!this.#hasVariants || /^$|"/.test((this.#req.headers['if-range'] as string | undefined) ?? '')) &&
      isRangeFresh();
  }

  /** A suffix longer than the file is the whole file (RFC 9110 §14.1.2). `send` would refuse it with 416. */
  #withSuffix(size: number, sendFile: () => void): void {
    const { headers } = this.#req;
    const { range } = headers;
    const suffix = Number(/^ *bytes=-(\d+) *$/.exec(range ?? '')?.[1] ?? 0);
    const isLonger = suffix > size && size > 0;
    if (isLonger) headers.range = 'bytes=0-';
    sendFile();
    if (isLonger) headers.range = range;
  }

  async #sendBest(
    stream: send.SendStream,
    path: string,
    stats: Stats,
    sendFile: (variant: Variant | undefined, headers: () => void) => void,
  ): Promise<void> {
    try {
      const { codings, settings } = this.#shared;
      const source = sourceOfVariant(path, codings);
      if (source !== undefined && (await statFile(source))) {
        stream.error(404);
        return;
      }
      const variants = await findVariants(path, stats, codings);
      const accepted = this.#req.headers['accept-encoding'];
      const offered = variants.map(({ coding }) => coding);
      const coding = chooseEncoding(typeof accepted === 'string' ? accepted : undefined, offered);
      const variant = variants.find((each) => each.coding === coding);
      this.#isFound = true;
      this.#hasVariants = variants.length > 0;
      this.#before = { status: this.#res.statusCode, headers: { ...this.#res.getHeaders() } };
      cacheOf(this.#res).skip('static-file');
      const sendForm = (form: Variant | undefined) =>
        sendFile(form, () => {
          const { setHeaders } = settings;
          if (setHeaders) callHook('setHeaders', () => setHeaders(this.#res, path, stats), undefined);
          this.#setHeaders(path, form);
        });
      if (variant) this.#sendSource = () => sendForm(undefined);
      sendForm(variant);
    } catch (error) {
      stream.error(500, error as Error);
    }
  }

  /** After the app's own headers, which take precedence, and before those of `send`. */
  #setHeaders(path: string, variant: Variant | undefined): void {
    const res = this.#res;
    const { settings } = this.#shared;
    if (!res.hasHeader('Content-Type')) {
      res.setHeader('Content-Type', contentType(extname(path)) || 'application/octet-stream');
    }
    if (this.#hasVariants) {
      res.setHeader(
        'Vary',
        addVary(res.getHeader('Vary') as string | string[] | undefined, ['Accept-Encoding']),
      );
    }
    if (variant) {
      res.setHeader('Content-Encoding', variant.coding);
      if (settings.etag || res.hasHeader('ETag'))
        res.setHeader('ETag', tagOf(res.getHeader('ETag'), variant));
    }
    if (settings.cacheControl && !res.hasHeader('Cache-Control') && this.#isImmutable(path)) {
      res.setHeader('Cache-Control', FOR_A_YEAR);
    }
    if (/^text\/html\b/i.test(String(res.getHeader('Content-Type')))) this.#preload(path);
  }

  #isImmutable(path: string): boolean {
    const { settings, root, preloads } = this.#shared;
    const { immutable } = settings;
    const below = `/${pathBelow(root, path)}`;
    if (immutable instanceof RegExp) return below.search(immutable) >= 0;
    if (typeof immutable === 'function') return callPredicate(immutable, below);
    const name = below.slice(below.lastIndexOf('/') + 1);
    return immutable && (isHashedName(name) || (preloads.listed.has(below) && mayBeHashedByVite(name)));
  }

  #preload(path: string): void {
    const { preloads, root } = this.#shared;
    if (preloads.isEmpty) return;
    const links = preloads.linksOf(pathBelow(root, path), mountOf(this.#req));
    if (links.length === 0) return;
    this.#hintEarly(links);
    const present = this.#res.getHeader('Link');
    this.#res.setHeader(
      'Link',
      [...(present === undefined ? [] : [present].flat().map(String)), ...links].join(', '),
    );
  }

  /** RFC 8297. Clients of HTTP/1.0 do not know 1xx, and other requests than navigations may misread it. */
  #hintEarly(link: string[]): void {
    const { method, headers, httpVersionMajor, httpVersionMinor } = this.#req;
    if (!this.#shared.settings.earlyHints || method !== 'GET' || link.length === 0) return;
    if (httpVersionMajor < 1 || (httpVersionMajor === 1 && httpVersionMinor < 1)) return;
    if (headers['sec-fetch-mode'] !== 'navigate' || this.#res.headersSent) return;
    this.#res.writeEarlyHints?.({ link });
  }

  #redirect(stream: send.SendStream): void {
    if (!this.#shared.settings.redirect || stream.hasTrailingSlash()) {
      stream.error(404);
      return;
    }
    const { path, query } = originalTarget(this.#req);
    const location = encodeUrl(safePath(`${path}/`) + (query === undefined ? '' : `?${query}`));
    const page =
      '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Redirecting</title>\n</head>\n' +
      `<body>\n<pre>Redirecting to ${escapeHtml(location)}</pre>\n</body>\n</html>\n`;
    const res = this.#res;
    cacheOf(res).skip('static-file');
    res.statusCode = 301;
    res.setHeader('Content-Type', 'text/html; charset=UTF-8');
    res.setHeader('Content-Length', Buffer.byteLength(page));
    res.setHeader('Content-Security-Policy', "default-src 'none'");
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.setHeader('Location', location);
    res.end(page);
  }

  /** The error goes to the next handler where there was a file, or where nothing may fall through. */
  #fail(error: SendError): void {
    if (this.#canSendSource()) return;
    const { settings, preloads } = this.#shared;
    if (this.#isFound && !this.#res.headersSent) this.#removeHeaders(error);
    if (this.#isFound || !settings.fallthrough || !((error.statusCode ?? 500) < 500)) {
      this.#next(error);
      return;
    }
    if (!preloads.isEmpty) this.#hintEarly(preloads.linksOf(undefined, mountOf(this.#req)));
    this.#next();
  }

  /** A variant that was removed after it was found, or that this process may not read, is as good as none. */
  #canSendSource(): boolean {
    const [res, sendSource] = [this.#res, this.#sendSource];
    this.#sendSource = undefined;
    if (!sendSource || !this.#isReading || res.headersSent) return false;
    const { status, headers } = this.#before;
    res.statusCode = status;
    for (const name of res.getHeaderNames()) {
      const value = headers[name];
      if (value === undefined) res.removeHeader(name);
      else if (value !== res.getHeader(name)) res.setHeader(name, value);
    }
    try {
      sendSource();
      return true;
    } catch (error) {
      reportFault('staticAssets', error);
      return false;
    }
  }

  #removeHeaders({ statusCode }: SendError): void {
    // A 416 names the length of the file in it (RFC 9110 §15.5.17).
    const names = statusCode === 416 ? OF_A_FILE : [...OF_A_FILE, 'Content-Range'];
    for (const name of names) {
      // Removing a length that is absent would keep Node from adding one.
      if (this.#res.hasHeader(name) && this.#before.headers[name.toLowerCase()] === undefined)
        this.#res.removeHeader(name);
    }
  }

  #refuseMethod(): void {
    this.#res.statusCode = 405;
    this.#res.setHeader('Allow', 'GET, HEAD');
    this.#res.setHeader('Content-Length', '0');
    this.#res.end();
  }
}

/** Without a next handler, as a listener of `node:http`. */
function endWithStatus(res: ServerResponse): (error?: unknown) => void {
  return (error) => {
    if (res.headersSent) {
      res.destroy();
      return;
    }
    res.statusCode = (error as SendError | undefined)?.status ?? 404;
    res.setHeader('Content-Length', '0');
    res.end();
  };
}

/** The tag of the app, or one of size and time as `send` makes it, with the coding: variants may agree in both. */
function tagOf(present: unknown, { coding, stats }: Variant): string {
  const tag =
    typeof present === 'string' && present.endsWith('"')
      ? present
      : `W/"${stats.size.toString(16)}-${stats.mtime.getTime().toString(16)}"`;
  return `${tag.slice(0, -1)}-${coding}"`;
}

function callPredicate(predicate: (path: string) => boolean, path: string): boolean {
  try {
    return predicate(path) === true;
  } catch (error) {
    reportFault('immutable', error);
    return false;
  }
}

/** The target before Express took off the path of the mount. */
function originalTarget(req: IncomingMessage): { path: string; query: string | undefined } {
  const { originalUrl } = req as { originalUrl?: string };
  return splitTarget(withoutFragment(originalUrl ?? req.url));
}

function withoutFragment(target = '/'): string {
  return (pathAndQueryOf(target) ?? target).split('#', 1)[0]!;
}

function mountOf(req: IncomingMessage): string {
  const { baseUrl } = req as { baseUrl?: unknown };
  return typeof baseUrl === 'string' && baseUrl !== '' ? encodeUrl(safePath(baseUrl)) : '';
}

/** Browsers read `//host` and `/\host` as another origin. */
function safePath(path: string): string {
  return path.replace(/^[/\\]+/, '/').replaceAll('\\', '%5C');
}
