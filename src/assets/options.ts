import type { Stats } from 'node:fs';
import type { ServerResponse } from 'node:http';
import * as v from 'valibot';
import { leaf, list, resolve, type Schema, section } from '../options/schema.js';
import { type Duration, readLifetime } from '../options/units.js';
import type { ValidationResult } from '../options/validation-result.js';
import { booleanValidator, readFunction, readName, readWord } from '../options/validators.js';
import { preloadOf } from './preload.js';
import type { VariantCoding } from './variants.js';

/** Options of `staticAssets`. Those that `serve-static` has too do the same, but for durations, which are seconds here. */
export interface StaticAssetsOptions {
  /**
   * Codings whose variants are served: `app.js.br`, `app.js.zst` and `app.js.gz` beside `app.js`. `false`: none, and such
   * files are ordinary ones. Default: `['br', 'zstd', 'gzip']`.
   */
  variants?: readonly VariantCoding[] | false | undefined;
  /**
   * The files that never change under their name and are kept for a year. `true`: names with a hash, as Vite, webpack, esbuild
   * and Parcel write them. Or a pattern for the path below the root (`/assets/app-4f2a91bc.js`), or a function. Default: `true`.
   */
  immutable?: boolean | RegExp | ((path: string) => boolean) | undefined;
  /** How long clients keep all other files without asking: at most one year. Default: `0`, which is a 304 for each use. */
  maxAge?: Duration | undefined;
  /** Whether to send `Cache-Control`. Default: `true`. */
  cacheControl?: boolean | undefined;
  /**
   * Vite's manifest (`build.manifest`), such as `dist/.vite/manifest.json`. Pages preload the entries that it lists for them,
   * and listed files count as hashed. It is read once, at the start. Default: none.
   */
  manifest?: string | undefined;
  /**
   * URLs that every HTML page preloads by a `Link` header, such as `/fonts/inter.woff2`. The extension decides what they
   * are loaded as. Default: none.
   */
  preload?: readonly string[] | undefined;
  /**
   * Whether to send the `Link` header ahead in a 103 (Early Hints), for HTML files and before a request falls through to
   * the app. Only navigations (`Sec-Fetch-Mode: navigate`) over HTTP/1.1 or later get it. Default: `false`.
   */
  earlyHints?: boolean | undefined;
  /**
   * Whether requests without a file, and those with methods other than GET and HEAD, go to the next handler. Otherwise the
   * error does (404, 403, 400), and other methods get a 405. Default: `true`.
   */
  fallthrough?: boolean | undefined;
  /** Whether a folder without its final slash is redirected. Default: `true`. */
  redirect?: boolean | undefined;
  /** The file for a folder, or several to try. `false`: none. Default: `'index.html'`. */
  index?: string | readonly string[] | false | undefined;
  /** Extensions to try where there is no file: `['html']`. Default: none. */
  extensions?: string | readonly string[] | false | undefined;
  /** Files and folders that begin with a dot: not found, refused with 403, or served. Default: `'ignore'`. */
  dotfiles?: 'ignore' | 'deny' | 'allow' | undefined;
  /** Whether to send `ETag`. Default: `true`. */
  etag?: boolean | undefined;
  /** Whether to send `Last-Modified`. Default: `true`. */
  lastModified?: boolean | undefined;
  /** Whether to answer range requests. Default: `true`. */
  acceptRanges?: boolean | undefined;
  /** Sets further headers of a file. It gets the path and the `Stats` of the file itself, not of a variant. Default: none. */
  setHeaders?: ((res: ServerResponse, path: string, stat: Stats) => void) | undefined;
}

const flag = (value: boolean) => v.optional(leaf(booleanValidator), value);

const assetsSchema = section({
  variants: v.optional(
    v.lazy(
      (input): Schema<readonly VariantCoding[] | false> =>
        input === false ? leaf(() => ({ value: false as const })) : codings,
    ),
    ['br', 'zstd', 'gzip'],
  ),
  immutable: v.optional(leaf(readImmutable), true),
  maxAge: v.optional(leaf(readLifetime), 0),
  cacheControl: flag(true),
  manifest: v.optional(leaf(readName)),
  preload: v.optional(list(leaf(readPreload), 'a list of URLs'), []),
  earlyHints: flag(false),
  fallthrough: flag(true),
  redirect: flag(true),
  index: v.optional(leaf(readIndex), ['index.html']),
  extensions: v.optional(leaf(readExtensions), []),
  dotfiles: v.optional(leaf(readWord('ignore', 'deny', 'allow')), 'ignore'),
  etag: flag(true),
  lastModified: flag(true),
  acceptRanges: flag(true),
  setHeaders: v.optional(leaf(readFunction<(res: ServerResponse, path: string, stat: Stats) => void>())),
});

const codings = list(leaf(readWord('br', 'zstd', 'gzip')), "a list of 'br', 'zstd' and 'gzip', or false");

/** The options of `staticAssets`, checked. */
export type AssetsSettings = v.InferOutput<typeof assetsSchema>;

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveAssets(options: unknown): AssetsSettings {
  return resolve(assetsSchema, options, 'staticAssets');
}

type Immutable = NonNullable<StaticAssetsOptions['immutable']>;

function readImmutable(input: unknown): ValidationResult<Immutable> {
  const isKnown = typeof input === 'boolean' || typeof input === 'function' || input instanceof RegExp;
  return isKnown
    ? { value: input as Immutable }
    : { expected: 'true, false, a regular expression, or a function of the path' };
}

function readIndex(input: unknown): ValidationResult<readonly string[]> {
  return readNames(input, "the name of a file such as 'index.html', a list of names, or false");
}

function readExtensions(input: unknown): ValidationResult<readonly string[]> {
  return readNames(input, "an extension such as 'html', a list of extensions, or false");
}

function readNames(input: unknown, expected: string): ValidationResult<readonly string[]> {
  if (input === false) return { value: [] };
  const names: readonly unknown[] = Array.isArray(input) ? input : [input];
  return names.every((name) => typeof name === 'string' && name !== '')
    ? { value: names as readonly string[] }
    : { expected };
}

function readPreload(input: unknown): ValidationResult<string> {
  const isUrl = typeof input === 'string' && /^(?:\/|https:\/\/)[\x21\x23-\x3b\x3d\x3f-\x7e]*$/.test(input);
  if (!isUrl) return { expected: "a path such as '/app.css', or a URL with https" };
  return preloadOf(input)
    ? { value: input }
    : { expected: 'a URL with the extension of a script, style sheet, font or image' };
}
