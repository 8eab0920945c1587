import { readFileSync } from 'node:fs';
import { extname, relative, sep } from 'node:path';
import { configError } from '../options/errors.js';
import { formatValue, isPlainObject } from '../options/format-value.js';
import { messageOf } from '../runtime/report-fault.js';

/** A chunk of Vite's manifest. */
interface ManifestChunk {
  readonly file: string;
  readonly isEntry?: boolean;
  readonly css?: readonly string[];
  readonly imports?: readonly string[];
  readonly assets?: readonly string[];
}

type Manifest = ReadonlyMap<string, ManifestChunk>;

/** Destinations (`as`) by extension, with the parameters of the link. Fonts are always fetched with CORS. */
const PRELOADS: Readonly<Record<string, string>> = {
  ...each('rel=preload; as=style', 'css'),
  ...each('rel=preload; as=script', 'js'),
  ...each('rel=modulepreload', 'mjs'),
  ...each('rel=preload; as=font; crossorigin', 'woff2', 'woff', 'ttf', 'otf'),
  ...each('rel=preload; as=image', 'avif', 'webp', 'png', 'jpg', 'jpeg', 'gif', 'svg', 'ico'),
};

/** Vite's pages load their style sheets with `crossorigin`; a preload without it would be fetched twice. */
const VITE_STYLE = 'rel=preload; as=style; crossorigin';

/** The `Link` value that preloads a URL by its extension (RFC 8288); `undefined` for an unknown extension. */
export function preloadOf(url: string): string | undefined {
  const extension = extname(url.split(/[?#]/, 1)[0]!).slice(1).toLowerCase();
  const parameters = Object.hasOwn(PRELOADS, extension) ? PRELOADS[extension] : undefined;
  return parameters && `<${url}>; ${parameters}`;
}

/** The links of HTML pages, and the files that a manifest lists. */
export class Preloads {
  readonly #urls: readonly string[];
  readonly #manifest: Manifest;
  /** Paths below the root, with a slash at the start. */
  readonly listed: ReadonlySet<string>;

  /**
   * @param urls what every page preloads.
   * @param manifest the path of Vite's manifest.
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` for a manifest that cannot be read.
   */
  constructor(urls: readonly string[], manifest: string | undefined) {
    this.#urls = urls.map((url) => preloadOf(url)!);
    this.#manifest = manifest === undefined ? new Map() : readManifest(manifest);
    const chunks = [...this.#manifest.values()];
    const files = chunks.flatMap(({ file, css = [], assets = [] }) => [file, ...css, ...assets]);
    this.listed = new Set(files.map((file) => `/${file}`));
  }

  get isEmpty(): boolean {
    return this.#urls.length === 0 && this.#manifest.size === 0;
  }

  /**
   * The `Link` values of a page.
   *
   * @param page its path below the root, such as `index.html`. Pages that are no entries, and those that the app renders,
   * get the entries that belong to no page.
   * @param mount the path that the root is served under, without a final slash.
   */
  linksOf(page: string | undefined, mount: string): string[] {
    const own = page === undefined ? undefined : this.#manifest.get(page);
    const entries = own?.isEntry
      ? [page!]
      : [...this.#manifest].flatMap(([key, { isEntry }]) => (isEntry && !key.endsWith('.html') ? [key] : []));
    const links = new Set(this.#urls);
    for (const entry of entries) this.#addChunk(entry, mount, links, new Set());
    return [...links];
  }

  /** The chunk, and everything that it imports statically. */
  #addChunk(key: string, mount: string, links: Set<string>, seen: Set<string>): void {
    const chunk = this.#manifest.get(key);
    if (!chunk || seen.has(key)) return;
    seen.add(key);
    for (const file of chunk.css ?? []) links.add(`<${urlOf(mount, file)}>; ${VITE_STYLE}`);
    const parameters = chunk.file.endsWith('.css') ? VITE_STYLE : 'rel=modulepreload';
    links.add(`<${urlOf(mount, chunk.file)}>; ${parameters}`);
    for (const imported of chunk.imports ?? []) this.#addChunk(imported, mount, links, seen);
  }
}

/** The path of a file below the root, with slashes. */
export function pathBelow(root: string, file: string): string {
  return relative(root, file).split(sep).join('/');
}

function urlOf(mount: string, file: string): string {
  return `${mount}/${file.split('/').map(encodeURIComponent).join('/')}`;
}

function readManifest(path: string): Manifest {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw manifestError(`expected a manifest of Vite: ${messageOf(error)}`, path);
  }
  if (!isPlainObject(content)) throw manifestError('expected a manifest of Vite, which is an object', path);
  const chunks = new Map<string, ManifestChunk>();
  for (const [key, chunk] of Object.entries(content)) {
    if (!isManifestChunk(chunk))
      throw manifestError(`the chunk ${formatValue(key)} is not in Vite's form`, path);
    chunks.set(key, chunk);
  }
  return chunks;
}

function isManifestChunk(value: unknown): value is ManifestChunk & object {
  if (!isPlainObject(value) || typeof value.file !== 'string') return false;
  return [value.css, value.imports, value.assets].every(
    (names) =>
      names === undefined || (Array.isArray(names) && names.every((name) => typeof name === 'string')),
  );
}

function manifestError(message: string, path: string) {
  return configError([{ path: 'staticAssets.manifest', message, received: formatValue(path) }]);
}

function each(parameters: string, ...extensions: readonly string[]): Record<string, string> {
  return Object.fromEntries(extensions.map((extension) => [extension, parameters]));
}
