import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import { staticAssets } from 'hotpath/assets';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.js';
import { launchBrowser } from '../../helpers/browser.js';
import { type Listening, listen } from '../../helpers/http.js';
import { installDebianPackage } from '../../helpers/system-packages.js';

const packages = [
  'express',
  'uplot',
  'fast-check',
  'playwright-core',
  'valibot',
  'prom-client',
  '@types/node',
  'morgan',
];
const PER_TYPE: Readonly<Record<string, number>> = {
  '.js': 60,
  '.mjs': 20,
  '.css': 12,
  '.json': 20,
  '.map': 20,
  '.html': 8,
  '.svg': 8,
  '.md': 24,
  '.txt': 4,
  '.ttf': 2,
  '.png': 4,
};

let root: string;
let server: Listening;
let browser: Browser;
let names: string[];

/** A file that has the name of one of another package gets a number. */
function copyRealFiles(): string[] {
  const modules = join(import.meta.dirname, '../../../node_modules');
  const left: Record<string, number> = { ...PER_TYPE };
  const copied: string[] = [];
  for (const name of packages.flatMap((each) =>
    readdirSync(join(modules, each), { recursive: true, encoding: 'utf8' })
      .map((file) => join(each, file))
      .sort(),
  )) {
    const type = extname(name);
    const { size } = statSync(join(modules, name));
    if (!left[type] || size < 1024 || size > 60_000 || !statSync(join(modules, name)).isFile()) continue;
    left[type]--;
    const copy = `${copied.length}${type}`;
    copyFileSync(join(modules, name), join(root, copy));
    copied.push(copy);
  }
  return copied;
}

beforeAll(async () => {
  for (const command of ['brotli', 'curl']) await requireCommand(command);
  root = mkdtempSync(join(tmpdir(), 'hotpath-real-'));
  names = copyRealFiles();
  const terminal = { out: () => {}, error: () => {}, columns: undefined };
  expect(await runCli(['precompress', root], terminal)).toBe(0);
  server = await listen(staticAssets(root));
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(root, { recursive: true, force: true });
});

const execute = promisify(execFile);

async function requireCommand(command: string): Promise<void> {
  await execute(command, ['--version']).catch(() =>
    installDebianPackage(command, 'A comparison with its command'),
  );
}

const digest = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const sizeOf = (name: string) => statSync(join(root, name), { throwIfNoEntry: false })?.size;

describe('a hundred files of real packages', () => {
  it('have variants as small as those of brotli -q 11, and within 1 % of gzip -9', async () => {
    expect(names.length).toBeGreaterThanOrEqual(100);
    const variants = names.filter((name) => sizeOf(`${name}.br`) !== undefined);
    expect(variants.length).toBeGreaterThanOrEqual(95);
    // One process of each command for all files.
    const paths = variants.map((name) => join(root, name));
    await Promise.all([
      execute('brotli', ['-q', '11', '--suffix=.br-command', '--', ...paths]),
      execute('gzip', ['-9', '-n', '--keep', '--suffix=.gz-command', '--', ...paths]),
    ]);
    let [ours, theirs] = [0, 0];
    for (const name of variants) {
      expect(sizeOf(`${name}.br`), name).toBeLessThanOrEqual(sizeOf(`${name}.br-command`)! * 1.01);
      const gzip = sizeOf(`${name}.gz-command`)!;
      // zlib in Node finds no repetitions of three bytes, which costs small files some bytes more.
      expect(sizeOf(`${name}.gz`) ?? 0, name).toBeLessThanOrEqual(gzip * 1.01 + 16);
      ours += sizeOf(`${name}.gz`) ?? gzip;
      theirs += gzip;
    }
    expect(ours / theirs).toBeLessThan(1.01);
  });

  it('decode to the original in Chromium, which gets Brotli', async () => {
    const page = await browser.newPage();
    const { port } = server;
    await page.goto(`http://localhost:${port}/${names.find((name) => name.endsWith('.txt')) ?? names[0]}`);
    const received = await page.evaluate(async (paths) => {
      const hex = (bytes: ArrayBuffer) =>
        [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      const results: [status: number, coding: string | null, digest: string][] = [];
      for (const path of paths) {
        const response = await fetch(`/${path}`);
        const body = await response.arrayBuffer();
        results.push([
          response.status,
          response.headers.get('content-encoding'),
          hex(await crypto.subtle.digest('SHA-256', body)),
        ]);
      }
      return results;
    }, names);
    for (const [at, name] of names.entries()) {
      const coding = received[at]![1];
      expect(received[at], name).toEqual([200, coding, digest(readFileSync(join(root, name)))]);
      // In each variant's own coding: the smallest one, which is rarely that of zstd.
      if (sizeOf(`${name}.br`) !== undefined) expect(coding, name).toMatch(/^(br|zstd)$/);
      else expect(coding, name).toBeNull();
    }
  });

  it.each(['br', 'gzip'])('decode to the original in curl, as %s', async (coding) => {
    const outputOf = (name: string) => join(root, `.${name}.${coding}`);
    const urls = names.flatMap((name) => ['-o', outputOf(name), `http://127.0.0.1:${server.port}/${name}`]);
    await execute('curl', ['-sf', '--compressed', '-H', `Accept-Encoding: ${coding}`, ...urls]);
    for (const name of names) {
      expect(digest(readFileSync(outputOf(name))), name).toBe(digest(readFileSync(join(root, name))));
    }
  });
});
