import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.js';
import { waitFor } from '../../helpers/http.js';
import { program } from '../../helpers/program.js';

const TEXT = 'export const answer = 42;\n'.repeat(100);
/** Of a type that is compressible, and as random as data can be: base64 would shrink by a quarter. */
const NOISE = Buffer.from(
  Array.from({ length: 4000 }, (_, at) => (at * at * 7919 + ((at * 31) % 251) * 17) % 256),
);
const ALL = ['--codings', 'br,gzip'];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpath-precompress-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string | Buffer, time = new Date('2026-01-02T03:04:05.678Z')): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), content);
  utimesSync(join(folder, name), time, time);
}
const read = (name: string) => readFileSync(join(folder, name));
const names = () =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile() && !/^\.hotpath-precompress\./.test(name))
    .sort();

/** Files that take a while. More than one per core, so that some are done while others are still encoded. */
function writeParts(): string[] {
  return Array.from({ length: 8 }, (_, at) => {
    const lines = Array.from(
      { length: 2_000 },
      (_, line) => `const v${(line * 7919 + at) % 99991} = ${line};\n`,
    );
    write(`part${at}.js`, lines.join(''));
    return `part${at}.js`;
  });
}
const isPart = (name: string) => /^part.*\.(?:br|gz)$/.test(name);

async function run(...args: string[]) {
  return runOn(undefined, ...args);
}

async function runOn(columns: number | undefined, ...args: string[]) {
  const [out, error]: string[][] = [[], []];
  const terminal = {
    out: (text: string) => void out!.push(text),
    error: (text: string) => void error!.push(text),
    columns,
  };
  const code = await runCli(['precompress', folder, ...args], terminal);
  return { code, out: out!.join(''), error: error!.join('') };
}

/** The superuser may read everything. */
async function asOrdinaryUser<T>(task: () => Promise<T>): Promise<T> {
  const isSuperuser = process.geteuid?.() === 0;
  if (isSuperuser) process.seteuid!(65_534);
  try {
    return await task();
  } finally {
    if (isSuperuser) process.seteuid!(0);
  }
}

describe('hotpath precompress', () => {
  it('writes variants that decode to the file, beside it, with its time and mode', async () => {
    write('app.js', TEXT);
    write('deep/style.css', TEXT);
    const { code, out, error } = await run(...ALL);
    expect({ code, error }).toEqual({ code: 0, error: '' });
    expect(out).toContain('2 files compressed, 0 unchanged');
    expect(names()).toEqual(
      ['app.js', 'app.js.br', 'app.js.gz', 'deep/style.css', 'deep/style.css.br', 'deep/style.css.gz'].sort(),
    );
    expect(brotliDecompressSync(read('app.js.br')).toString()).toBe(TEXT);
    expect(gunzipSync(read('deep/style.css.gz')).toString()).toBe(TEXT);
    const [source, variant] = [statSync(join(folder, 'app.js')), statSync(join(folder, 'app.js.br'))];
    expect(variant.mtimeMs).toBeGreaterThanOrEqual(source.mtimeMs);
    expect(variant.mtimeMs - source.mtimeMs).toBeLessThan(1);
    expect(variant.mode).toBe(source.mode);
  });

  it('leaves out small files, compressed types, dotfiles, and links to folders', async () => {
    write('small.js', TEXT.slice(0, 1023));
    write('photo.png', TEXT);
    write('font.woff2', TEXT);
    write('unknown.surprise', TEXT);
    write('.env.js', TEXT);
    write('.git/hooks.js', TEXT);
    symlinkSync(folder, join(folder, 'loop'));
    symlinkSync(join(folder, 'missing.js'), join(folder, 'broken.js'));
    const { code, out } = await run();
    expect({ code, out }).toEqual({ code: 0, out: `${folder}: 0 files compressed, 0 unchanged\n` });
    expect((await run('--min-size', '100', ...ALL)).out).toContain('1 files compressed');
    expect(existsSync(join(folder, 'small.js.br'))).toBe(true);
  });

  it('keeps no variant that gains less than 10 %, and does not try again', async () => {
    write('noise.svg', NOISE);
    expect((await run(...ALL)).out).toContain('1 files compressed');
    expect(names()).toEqual(['noise.svg']);
    expect((await run(...ALL)).out).toContain('0 files compressed, 1 unchanged');
  });

  it('skips unchanged files, encodes changed ones, and keeps variants of the same content', async () => {
    write('app.js', TEXT);
    write('other.js', TEXT);
    await run(...ALL);
    const madeAt = statSync(join(folder, 'other.js.br')).ctimeMs;
    write('app.js', `${TEXT}// changed`);
    expect((await run(...ALL)).out).toContain('1 files compressed, 1 unchanged');
    expect(brotliDecompressSync(read('app.js.br')).toString()).toBe(`${TEXT}// changed`);
    expect(statSync(join(folder, 'other.js.br')).ctimeMs).toBe(madeAt);
    // A new build writes the same content again.
    const later = new Date('2026-02-03T04:05:06.789Z');
    write('other.js', TEXT, later);
    expect((await run(...ALL)).out).toContain('0 files compressed, 2 unchanged');
    expect(Math.round(statSync(join(folder, 'other.js.br')).mtimeMs)).toBe(later.getTime());
    rmSync(join(folder, 'other.js.gz'));
    expect((await run(...ALL)).out).toContain('1 files compressed, 1 unchanged');
    expect((await run('--force', ...ALL)).out).toContain('2 files compressed, 0 unchanged');
  });

  it('removes its variants of files that are gone, have become small, or gain nothing', async () => {
    for (const name of ['gone.js', 'small.js', 'noise.js', 'kept.js']) write(name, TEXT);
    await run(...ALL);
    rmSync(join(folder, 'gone.js'));
    write('small.js', 'x');
    write('noise.js', NOISE);
    expect((await run(...ALL)).out).toContain('6 variants removed');
    expect(names()).toEqual(['kept.js', 'kept.js.br', 'kept.js.gz', 'noise.js', 'small.js']);
  });

  it('neither replaces nor removes files that it did not make, unless it is forced', async () => {
    write('app.js', TEXT);
    write('app.js.gz', 'of another tool');
    write('orphan.js.gz', 'an archive');
    const { code, out } = await run(...ALL);
    expect(code).toBe(0);
    expect(out).toContain('1 files such as app.js.gz were made by another tool');
    rmSync(join(folder, 'app.js'));
    await run(...ALL);
    expect(names()).toEqual(['app.js.gz', 'orphan.js.gz']);
    write('app.js', TEXT);
    await run('--force', ...ALL);
    expect(gunzipSync(read('app.js.gz')).toString()).toBe(TEXT);
    expect(read('orphan.js.gz').toString()).toBe('an archive');
  });

  it('does not remove a file by a record that leads out of the folder, or that is wrong', async () => {
    write('inner/app.js', TEXT);
    write('precious.gz', 'precious');
    const variants = { gzip: 8 };
    const source = { size: 1, mtimeMs: 1, hash: 'x', variants };
    const record = {
      encoder: 1,
      sources: { '../precious': source, '/precious': source, 'a/../../precious': source },
    };
    write('inner/.hotpath-precompress.json', JSON.stringify(record));
    folder = join(folder, 'inner');
    expect((await run(...ALL)).code).toBe(0);
    folder = dirname(folder);
    expect(read('precious.gz').toString()).toBe('precious');
    write('inner/.hotpath-precompress.json', '{ not JSON');
    expect((await run(...ALL)).code).toBe(0);
  });

  it('reports a file that fails and goes on with the others, with exit code 1', async () => {
    write('app.js', TEXT);
    write('blocked.js', TEXT);
    mkdirSync(join(folder, 'blocked.js.br'));
    const { code, error, out } = await run(...ALL);
    expect(code).toBe(1);
    expect(error).toMatch(/^hotpath precompress: blocked\.js: EISDIR|ENOTEMPTY|EEXIST/);
    expect(out).toContain('1 failed');
    expect(names().filter((name) => name.startsWith('.'))).toEqual([]);
    expect(existsSync(join(folder, 'app.js.br'))).toBe(true);
  });

  it('keeps the variants of a file whose other coding fails, and makes that one later', async () => {
    write('blocked.js', TEXT);
    mkdirSync(join(folder, 'blocked.js.br'));
    await run(...ALL);
    rmSync(join(folder, 'blocked.js.br'), { recursive: true });
    write('blocked.js', `${TEXT}// changed`);
    const { out } = await run(...ALL);
    expect(out).not.toContain('another tool');
    expect(gunzipSync(read('blocked.js.gz')).toString()).toBe(`${TEXT}// changed`);
    expect(brotliDecompressSync(read('blocked.js.br')).toString()).toBe(`${TEXT}// changed`);
  });

  it('recognises its variants after it was killed', async () => {
    writeParts();
    const { execArgv, file } = program('src/cli/main.ts');
    const child = spawn(process.execPath, [...execArgv, file, 'precompress', folder, ...ALL]);
    const exited = once(child, 'exit');
    await waitFor(() => names().some(isPart));
    child.kill('SIGKILL');
    await exited;
    expect((await run(...ALL)).out).not.toContain('another tool');
    expect((await run(...ALL)).out).toContain('0 files compressed, 8 unchanged');
    // The record has everything.
    expect(existsSync(join(folder, '.hotpath-precompress.journal'))).toBe(false);
  });

  it('recognises the variants of a run at the same time', async () => {
    const files = writeParts();
    const first = run(...ALL);
    await waitFor(() => names().some(isPart));
    const runs = [await run(...ALL), await first, await run(...ALL)];
    for (const { code, out } of runs) expect([code, out.includes('another tool')]).toEqual([0, false]);
    for (const name of files) rmSync(join(folder, name));
    await run(...ALL);
    expect(names()).toEqual([]);
  });

  it('takes no variant of older content from the journal of a killed run for a current one', async () => {
    write('app.js', `${TEXT}// older`);
    await run(...ALL);
    const older = read('app.js.gz');
    write('app.js', TEXT);
    await run(...ALL);
    const record = JSON.parse(read('.hotpath-precompress.json').toString());
    const [current] = Object.values<{ hash: string; variants: object }>(record.sources);
    // As a run leaves it that is killed after it has encoded br: gzip is still that of the older content.
    write('app.js.gz', older);
    const before = { ...current, hash: 'of the older content', variants: { br: 1, gzip: older.length } };
    write('.hotpath-precompress.json', JSON.stringify({ ...record, sources: { 'app.js': before } }));
    const line = {
      encoder: record.encoder,
      sources: { 'app.js': { ...current, variants: { br: read('app.js.br').length } } },
    };
    write('.hotpath-precompress.journal', `${JSON.stringify(line)}\n{"encoder":1,"sour`);
    expect((await run(...ALL)).out).not.toContain('another tool');
    expect(gunzipSync(read('app.js.gz')).toString()).toBe(TEXT);
  });

  it('skips links in a circle, and manages names with any character', async () => {
    write('app.js', TEXT);
    symlinkSync('second.js', join(folder, 'first.js'));
    symlinkSync('first.js', join(folder, 'second.js'));
    const odd = ['back\\slash.js', 'new\nline.js', '--help.js', '__proto__/app.js'];
    for (const name of odd) write(name, TEXT);
    expect((await run(...ALL)).code).toBe(0);
    for (const name of [...odd, 'first.js', 'second.js']) rmSync(join(folder, name));
    const { code, out } = await run(...ALL);
    expect([code, out.includes('another tool')]).toEqual([0, false]);
    expect(names()).toEqual(['app.js', 'app.js.br', 'app.js.gz']);
  });

  it('shows names without their control characters, which a terminal would obey', async () => {
    for (const name of ['\u001b[2J.js', '\u009b31m.js']) write(name, TEXT);
    mkdirSync(join(folder, '\u001b[2J.js.br'));
    write('\u009b31m.js.br', 'of another tool');
    const { error, out } = await run(...ALL);
    expect(error).toMatch(/^hotpath precompress: \\x1b\[2J\.js: \P{Cc}+\n$/u);
    expect(out).toContain('1 files such as \\x9b31m.js.br were made');
  });

  it('goes on where it may not read a folder, and keeps the variants in it', async () => {
    write('app.js', TEXT);
    write('closed/app.js', TEXT);
    await run(...ALL);
    write('other.js', TEXT);
    chmodSync(folder, 0o777);
    chmodSync(join(folder, 'closed'), 0);
    const { code, out, error } = await asOrdinaryUser(() => run(...ALL));
    chmodSync(join(folder, 'closed'), 0o755);
    expect(code).toBe(1);
    expect(error).toMatch(/^hotpath precompress: closed: EACCES/);
    expect(out).toContain('1 files compressed, 1 unchanged, 1 failed');
    expect((await run(...ALL)).out).toContain('0 files compressed, 3 unchanged');
  });

  it('replaces a variant whose time it may not set, because another user owns it', async () => {
    write('app.js', TEXT);
    await run(...ALL);
    write('app.js', TEXT, new Date('2026-02-03T04:05:06.789Z'));
    chmodSync(folder, 0o777);
    const { code, error } = await asOrdinaryUser(() => run(...ALL));
    expect({ code, error }).toEqual({ code: 0, error: '' });
    expect(statSync(join(folder, 'app.js.br')).mtimeMs).toBeGreaterThanOrEqual(
      statSync(join(folder, 'app.js')).mtimeMs,
    );
  });

  it('gives a variant the rights of its source, whatever the mask of the process', async () => {
    write('app.js', TEXT);
    const mask = process.umask(0o077);
    await run(...ALL);
    process.umask(mask);
    expect(statSync(join(folder, 'app.js.br')).mode).toBe(statSync(join(folder, 'app.js')).mode);
  });

  it('shows a table by type, and a bar on a terminal only', async () => {
    write('app.js', TEXT);
    write('style.css', TEXT);
    const { out, error } = await runOn(80, ...ALL);
    const [head, ...rows] = out.split('\n');
    expect(head).toMatch(/^type +files +size +br +gzip$/);
    expect(rows[0]).toMatch(/^\.(?:js|css) +1 +2\.6 kB +\d+ B -9\d% +\d+ B -9\d%$/);
    expect(rows[2]).toMatch(/^total +2 +5\.2 kB/);
    expect(error).toMatch(/\r\[\.{40}\] {3}0 % of 5\.2 kB[\s\S]*\r\[#{40}\] 100 % of 5\.2 kB/);
    expect(error.endsWith('\r\u001b[K')).toBe(true);
    expect(await run('--quiet')).toEqual({ code: 0, out: '', error: '' });
  });

  it.each([
    [['--codings', 'deflate'], /expected br, zstd or gzip, received 'deflate'/],
    [['--min-size', '1kb'], /--min-size: expected a number of bytes, received '1kb'/],
    [['no-such-folder'], /'no-such-folder' is no folder/],
  ])('ends with exit code 2 for wrong arguments: %j', async (args, message) => {
    write('app.js', TEXT);
    const { code, error } = await run(...args);
    expect(code).toBe(2);
    expect(error).toMatch(message);
    expect(names()).toEqual(['app.js']);
  });
});
