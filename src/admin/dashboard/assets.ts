import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import { chooseEncoding } from '../../http/accept-encoding.js';
import { respondWith } from '../respond.js';
import type { PageFiles } from './page-files.js';

/** A file of the page with its encoded forms. */
export interface PageFile {
  readonly type: string;
  readonly identity: Buffer;
  readonly br: Buffer;
  readonly gzip: Buffer;
}

/** The page, and the files that it names. */
export interface PageAssets {
  readonly page: PageFile;
  /** By a name that changes with the content. */
  readonly files: ReadonlyMap<string, PageFile>;
}

const ASSETS = {
  script: ['js', 'text/javascript; charset=utf-8'],
  style: ['css', 'text/css; charset=utf-8'],
  icon: ['svg', 'image/svg+xml'],
} as const;

const brotliOf = promisify(brotliCompress);
const gzipOf = promisify(gzip);

/**
 * Names and encodes the files of the page.
 *
 * @param permitsChanges whether the page offers what changes something.
 */
export async function preparePage(files: PageFiles, permitsChanges: boolean): Promise<PageAssets> {
  const named = new Map<string, PageFile>();
  let page = files.page.replace('%CHANGES%', permitsChanges ? 'yes' : 'no');
  for (const [part, [ending, type]] of Object.entries(ASSETS)) {
    const text = files[part as keyof typeof ASSETS];
    const print = createHash('sha256').update(text).digest('base64url').slice(0, 12);
    const name = `${part}.${print}.${ending}`;
    named.set(name, await encode(text, type));
    page = page.replace(`./assets/${part}`, `./assets/${name}`);
  }
  return { page: await encode(page, 'text/html; charset=utf-8'), files: named };
}

async function encode(text: string, type: string): Promise<PageFile> {
  const identity = Buffer.from(text);
  const [br, gzipped] = await Promise.all([brotliOf(identity), gzipOf(identity)]);
  return { type, identity, br, gzip: gzipped };
}

/** Sends a file in the coding that the client prefers. */
export function sendFile(req: IncomingMessage, res: ServerResponse, file: PageFile): void {
  const coding = chooseEncoding(String(req.headers['accept-encoding'] ?? ''), ['br', 'gzip']);
  res.setHeader('Vary', 'Accept-Encoding');
  if (coding) res.setHeader('Content-Encoding', coding);
  respondWith(req, res, 200, file.type, file[coding ?? 'identity']);
}
