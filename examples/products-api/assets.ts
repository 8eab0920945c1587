import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type RequestHandler, Router } from 'express';

/** The page and the files it needs, read once. */
export interface Assets {
  readonly page: string;
  /** Shown while the database is filled, with the places `{{step}}`, `{{done}}` and `{{of}}`. */
  readonly starting: string;
  /** By fingerprinted name, such as `app.3f786850e3.js`. */
  readonly files: ReadonlyMap<string, string>;
}

/** Imported files first, because a fingerprint covers the names of the imported files. */
const FILES = [
  'icon.svg',
  'base.css',
  'style.css',
  'forecast.css',
  'dom.js',
  'measure.js',
  'database.js',
  'forecast.js',
  'live.js',
  'routes.js',
  'app.js',
];

/** Reads the files under `public` and gives each a name that changes with its content. */
export async function loadAssets(): Promise<Assets> {
  const files = new Map<string, string>();
  const names = new Map<string, string>();
  const withNames = (text: string) => {
    let result = text;
    for (const [plain, printed] of names) result = result.replaceAll(`./${plain}`, `./${printed}`);
    return result;
  };
  for (const name of FILES) {
    const content = withNames(await publicFile(name));
    const print = createHash('sha256').update(content).digest('hex').slice(0, 10);
    const extension = extname(name);
    const printed = `${name.slice(0, -extension.length)}.${print}${extension}`;
    names.set(name, printed);
    files.set(printed, content);
  }
  const pageOf = async (name: string) => withNames(await publicFile(name)).replaceAll('"./', '"/assets/');
  return { page: await pageOf('index.html'), starting: await pageOf('starting.html'), files };
}

/** `/` and `/assets/…`. Only exact names are found, so their content never changes. */
export function assetRoutes(assets: Assets): RequestHandler {
  const router = Router();
  router.get('/', (_req, res) => {
    res.type('html').send(assets.page);
  });
  router.get('/assets/:name', (req, res, next) => {
    const content = assets.files.get(req.params.name);
    if (content === undefined) next();
    else res.type(extname(req.params.name)).send(content);
  });
  return router;
}

function publicFile(name: string): Promise<string> {
  return readFile(new URL(`public/${name}`, import.meta.url), 'utf8');
}
