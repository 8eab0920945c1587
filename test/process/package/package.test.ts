import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile } from '../../package/compile.js';
import { subpaths } from '../../package/exports.js';
import {
  type Ended,
  manifest,
  node,
  nodeReport,
  pack,
  packagesOf,
  project,
  root,
  type Tarball,
  withDependencies,
} from '../../package/project.js';

const majors = [
  ['Express 5', 'express'],
  ['Express 4', 'express4'],
] as const;
const heavy = ['ioredis', 'pg', 'prom-client'];

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'hotpath-package-')));
const inScratch = (name: string) => join(scratch, name.replaceAll(/\W+/g, '-'));
let tarball: Tarball;
let probes: string;

beforeAll(async () => {
  tarball = await pack(scratch);
  // The optional clients are installed, so that loading them would succeed.
  probes = await project(inScratch('probes'), tarball, 'probes', { pg: 'pg' });
}, 300_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('the tarball', () => {
  it('holds the built files, OpenAPI, dashboard and rules, README, LICENSE, CHANGELOG, package.json alone', () => {
    const others = tarball.files.filter(
      (file) => !/^dist\/[\w-]+\.(js|cjs|d\.ts|d\.cts)(\.map)?$/.test(file),
    );
    expect(others.sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'observability/grafana-dashboard.json',
      'observability/prometheus-rules.yml',
      'openapi/performance-api.json',
      'package.json',
    ]);
  });

  it('names no folder of the machine that built it', () => {
    const dist = join(probes, 'node_modules', 'hotpath', 'dist');
    const files = readdirSync(dist);
    expect(files).toContain('index.js');
    const naming = files.filter((file) => readFileSync(join(dist, file), 'utf8').includes(root));
    expect(naming).toEqual([]);
  });
});

describe('the executable', () => {
  const installed = () => join(probes, 'node_modules', 'hotpath');

  it('runs as npx starts it, and exits with 2 for an unknown command', async () => {
    const bin = join(installed(), manifest.bin.hotpath!);
    expect(readFileSync(bin, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    const help = await node(probes, bin, '--help');
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('Usage: hotpath <command>');
    const wrong = await node(probes, bin, 'precompres');
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain("unknown command 'precompres'; did you mean 'precompress'?");
  });

  it('is no part of the library: importing hotpath loads none of its files', async () => {
    const dist = join(installed(), 'dist');
    // The CommonJS files have the same names, and no comments.
    const ofCli = readdirSync(dist)
      .filter(
        (file) => file.endsWith('.js') && readFileSync(join(dist, file), 'utf8').includes('// src/cli/'),
      )
      .map((file) => file.replace(/js$/, ''));
    expect(ofCli).toContain('cli.');
    expect(ofCli.length, 'the commands are files of their own').toBeGreaterThan(1);
    for (const probe of ['loaded.mjs', 'loaded.cjs']) {
      const { stdout } = await node(probes, probe, 'hotpath');
      expect(stdout).toMatch(/hotpath\/dist\/index\.c?js/);
      expect(ofCli.filter((file) => stdout.includes(`/dist/${file}`))).toEqual([]);
    }
  });
});

describe('the CommonJS build', () => {
  it('keeps the syntax of the ES modules: no call of a helper stands for ?., ?? or a private field', () => {
    const dist = join(probes, 'node_modules', 'hotpath', 'dist');
    const modules = readdirSync(dist).filter((file) => file.endsWith('.js'));
    const syntaxOf = (file: string) =>
      readFileSync(join(dist, file), 'utf8')
        .match(/\?\.|\?\?|#\w+/g)
        ?.join('') ?? '';
    const changed = modules.filter((file) => syntaxOf(file) !== syntaxOf(file.replace(/js$/, 'cjs')));
    expect(modules.length).toBeGreaterThan(10);
    expect(changed).toEqual([]);
  });
});

describe('the exports of each subpath', () => {
  it('are listed for every subpath of package.json, and for no other', () => {
    const published = Object.keys(manifest.exports)
      .filter((path) => !path.endsWith('.json'))
      .map((path) => path.replace(/^\./, 'hotpath'));
    expect(published.sort()).toEqual(Object.keys(subpaths).sort());
  });

  type Exports = Record<string, { imported: string[]; required: string[] }>;
  let found: Exports;
  beforeAll(async () => {
    found = await nodeReport<Exports>(probes, 'exports.mjs', ...Object.keys(subpaths));
  });

  it.each(Object.entries(subpaths))(
    'of %s are these names, as ES module and as CommonJS',
    (path, { names }) => {
      const { imported, required } = found[path]!;
      expect({ imported: imported.sort(), required: required.sort() }).toEqual({
        imported: names,
        required: names,
      });
    },
  );
});

describe('the packages that each subpath loads', () => {
  describe.each(['loaded.mjs', 'loaded.cjs'])('%s', (probe) => {
    const runs = new Map<string, Promise<Ended>>();
    const loadedBy = async (path: string): Promise<string[]> => {
      if (!runs.has(path)) runs.set(path, node(probes, probe, path));
      const { code, stdout, stderr } = await runs.get(path)!;
      expect(code, stderr).toBe(0);
      return packagesOf(stdout.split('\n'));
    };

    it.each(Object.entries(subpaths))(
      '%s loads only the packages that it may',
      async (path, { packages }) => {
        const loaded = await loadedBy(path);
        expect(loaded, 'the probe sees the package itself').toContain('hotpath');
        const may = new Set(['hotpath', ...withDependencies(packages)]);
        expect(loaded.filter((name) => !may.has(name))).toEqual([]);
      },
    );

    it('hotpath/compression loads neither a database driver, nor a Redis client, nor prom-client', async () => {
      const loaded = await loadedBy('hotpath/compression');
      expect(loaded).toContain('compressible');
      expect(loaded.filter((name) => heavy.includes(name))).toEqual([]);
    });

    it('hotpath and hotpath/cache load no Redis client', async () => {
      for (const path of ['hotpath', 'hotpath/cache']) {
        expect((await loadedBy(path)).filter((name) => name === 'ioredis')).toEqual([]);
      }
    });

    it('finds a heavy package where one is loaded: hotpath/metrics loads prom-client', async () => {
      expect(await loadedBy('hotpath/metrics')).toContain('prom-client');
      expect(await loadedBy('pg')).toContain('pg');
    });
  });
});

describe('ioredis', () => {
  it('is an optional peer dependency', () => {
    expect(manifest.peerDependencies).toHaveProperty('ioredis');
    expect(manifest.dependencies).not.toHaveProperty('ioredis');
    expect(manifest.peerDependenciesMeta).toEqual({ ioredis: { optional: true }, pg: { optional: true } });
  });

  it.each(['redis.mjs', 'redis.cjs'])('is loaded only when Redis is configured (%s)', async (probe) => {
    const report = await nodeReport<{ without: boolean; with: boolean }>(probes, probe);
    expect(report).toEqual({ without: false, with: true });
  });
});

describe('an app that esbuild bundles', () => {
  it.each(['esm', 'cjs'] as const)('has hotpath in it without a warning (%s)', async (format) => {
    const contents = Object.keys(subpaths)
      .map((subpath) => `export * as ${subpath.replaceAll(/\W/g, '_')} from '${subpath}';`)
      .join('\n');
    const { warnings } = await build({
      stdin: { contents, resolveDir: probes },
      format,
      bundle: true,
      platform: 'node',
      external: ['pg-native'],
      write: false,
      logLevel: 'silent',
    });
    expect(warnings.map(({ text }) => text)).toEqual([]);
  });
});

describe('a project without ioredis', () => {
  it.each(['no-redis.mjs', 'no-redis.cjs'])('fails at start when Redis is configured (%s)', async (probe) => {
    const folder = await project(inScratch(probe), tarball, 'probes');
    rmSync(join(folder, 'node_modules', 'ioredis'));
    const report = await nodeReport<{ code: string; message: string; memory: string }>(folder, probe);
    expect(report).toMatchObject({ code: 'HOTPATH_CONFIG_INVALID', memory: 'works' });
    expect(report.message).toMatch(/cache\.redis: .*npm install ioredis/);
  });
});

describe.each(majors)('the installed tarball, %s', (major, express) => {
  it.each([
    ['ES modules', 'esm', 'main.mjs'],
    ['CommonJS', 'commonjs', 'main.cjs'],
  ])(
    'lets a project of %s import every subpath, serve a request and exit by itself',
    async (_, sources, main) => {
      const folder = await project(inScratch(`${sources} ${major}`), tarball, sources, { express });
      const { code, stdout, stderr } = await node(folder, main);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toEqual({
        status: 200,
        length: 4_000,
        encoding: expect.stringMatching(/^(br|gzip)$/),
        middlewares: 6,
        left: [],
      });
    },
  );

  it('shares errors and one exchange for each request between ES module and CommonJS copies', async () => {
    const folder = await project(inScratch(`both ${major}`), tarball, 'probes', { express });
    expect(await nodeReport(folder, 'both.mjs')).toEqual({
      copies: true,
      esmError: true,
      cjsError: true,
      plainError: false,
      exchange: true,
      patchedOnce: true,
      responseTimes: 1,
    });
  });
});

describe('a TypeScript project', () => {
  const nodeTypes = { '@types/node': '@types/node' };
  const types = { ...nodeTypes, '@types/express': '@types/express' };

  it.each([
    ['node16', ts.ModuleKind.Node16],
    ['nodenext', ts.ModuleKind.NodeNext],
  ])(
    'compiles under module %s, .mts and .cts, and both run',
    async (name, module) => {
      const folder = await project(inScratch(`types ${name}`), tarball, 'typescript', types);
      const options = { module, outDir: join(folder, 'out') };
      expect(compile(folder, ['app.mts', 'app.cts'], options)).toBe('');
      for (const file of ['out/app.mjs', 'out/app.cjs']) {
        expect(await nodeReport(folder, file)).toMatchObject({ status: 200, length: 4_000, known: true });
      }
    },
    90_000,
  );

  it('compiles under moduleResolution bundler', async () => {
    const folder = await project(inScratch('types bundler'), tarball, 'typescript', types);
    const options = {
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      noEmit: true,
    };
    expect(compile(folder, ['app.mts'], options)).toBe('');
  }, 240_000);

  it('needs no Express types', async () => {
    const folder = await project(inScratch('types plain'), tarball, 'typescript', nodeTypes);
    const options = { module: ts.ModuleKind.NodeNext, noEmit: true };
    expect(compile(folder, ['plain.mts'], options)).toBe('');
  }, 240_000);
});
