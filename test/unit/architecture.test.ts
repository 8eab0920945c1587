import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import {
  checkImports,
  type ImportGraph,
  importsOf,
  parsedFile,
  readImports,
} from '../helpers/import-graph.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'src');

describe('import direction in src', () => {
  const graph = readImports(source);

  it('has no upward import and no cycle', () => {
    expect(checkImports(graph)).toEqual([]);
  });

  it('reads the real files: finds imports that are known to exist', () => {
    expect(graph.get('exchange/exchange.ts')).toContain('exchange/headers.ts');
    expect(graph.get('exchange/exchange.ts')).toContain('node:http');
    expect([...graph.values()].flat().filter((target) => graph.has(target)).length).toBeGreaterThan(10);
  });

  it('counts every kind of import, type imports included', () => {
    const text = `
      import { a } from './a.js';
      import type { B } from './b.js';
      export * from './c.js';
      export type { D } from './d.js';
      import './e.js';
      const f = import('./f.js');
      let g: import('./g.js').G;
      import h = require('./h.js');
      const no = "import './i.js'"; // import './j.js'
    `;
    expect(importsOf('x.ts', text)).toEqual('abcdefgh'.split('').map((name) => `./${name}.js`));
  });

  const sound: ImportGraph = new Map([
    ['http/vary.ts', []],
    ['options/errors.ts', []],
    ['options/units.ts', ['options/errors.ts']],
    ['exchange/exchange.ts', ['node:http', 'http/vary.ts', 'options/errors.ts']],
    ['store/memory/memory-store.ts', ['lru-cache', 'options/units.ts']],
    ['telemetry/recorder.ts', ['prom-client', 'exchange/exchange.ts']],
    ['middleware/timing/middleware.ts', ['middleware/timing/address.ts', 'exchange/exchange.ts']],
    ['middleware/timing/address.ts', []],
    ['middleware/timing/index.ts', ['middleware/timing/middleware.ts']],
    ['middleware/metrics/index.ts', ['telemetry/recorder.ts']],
    ['cache/request/key.ts', []],
    ['cache/fill/fill.ts', ['cache/request/key.ts', 'cache/state.ts']],
    ['cache/state.ts', ['store/memory/memory-store.ts', 'exchange/exchange.ts']],
    ['cache/index.ts', ['cache/fill/fill.ts']],
    ['front-door/fast-path.ts', ['middleware/timing/middleware.ts', 'cache/index.ts']],
    ['hotpath.ts', ['middleware/timing/middleware.ts', 'cache/index.ts', 'front-door/fast-path.ts']],
    ['index.ts', ['hotpath.ts', 'options/errors.ts']],
  ]);
  const withArrow = (from: string, to: string): ImportGraph =>
    new Map(sound).set(from, [...(sound.get(from) ?? []), to]);

  it('accepts a valid graph', () => {
    expect(checkImports(sound)).toEqual([]);
  });

  it.each([
    ['http/vary.ts', 'options/units.ts'],
    ['http/vary.ts', 'node:fs'],
    ['options/units.ts', 'http/vary.ts'],
    ['exchange/exchange.ts', 'middleware/timing/middleware.ts'],
    ['exchange/exchange.ts', 'options/units.ts'],
    ['store/memory/memory-store.ts', 'cache/index.ts'],
    ['store/memory/memory-store.ts', 'exchange/exchange.ts'],
    ['telemetry/recorder.ts', 'middleware/metrics/index.ts'],
    ['middleware/timing/index.ts', 'middleware/metrics/index.ts'],
    ['middleware/metrics/index.ts', 'middleware/timing/address.ts'],
    ['middleware/timing/index.ts', 'telemetry/recorder.ts'],
    ['middleware/timing/index.ts', 'cache/index.ts'],
    ['cache/index.ts', 'middleware/timing/middleware.ts'],
    ['cache/request/key.ts', 'cache/fill/fill.ts'],
    ['cache/surprise/file.ts', 'cache/request/key.ts'],
    ['cache/index.ts', 'hotpath.ts'],
    ['cache/index.ts', 'front-door/fast-path.ts'],
    ['middleware/timing/index.ts', 'front-door/fast-path.ts'],
    ['hotpath.ts', 'index.ts'],
    ['cache/index.ts', 'cache/gone.ts'],
    ['surprise/file.ts', 'http/vary.ts'],
  ])('rejects the import %s -> %s', (from, to) => {
    expect(checkImports(withArrow(from, to)).join('\n')).toContain(from);
  });

  it('rejects every real import between folders once it is reversed', () => {
    const room = (file: string) => file.split('/')[0];
    let turnedArrows = 0;
    for (const [from, targets] of graph) {
      for (const to of targets) {
        if (!graph.has(to) || room(from) === room(to)) continue;
        turnedArrows += 1;
        // A rule mostly rejects the arrow alone; the search for a cycle reads the complete graph.
        const alone: ImportGraph = new Map([
          [from, []],
          [to, [from]],
        ]);
        const isRejectedIn = (each: ImportGraph) =>
          checkImports(each).join('\n').includes(`${to} -> ${from}`);
        const found = isRejectedIn(alone) || isRejectedIn(reversed(graph, from, to));
        expect(found, `${to} -> ${from}`).toBe(true);
      }
    }
    expect(turnedArrows).toBeGreaterThan(10);
  });

  it('rejects a cycle inside one folder', () => {
    const problems = checkImports(withArrow('options/errors.ts', 'options/units.ts'));
    expect(problems.some((problem) => problem.startsWith('cycle:'))).toBe(true);
  });
});

function reversed(graph: ImportGraph, from: string, to: string): ImportGraph {
  const others = (graph.get(from) ?? []).filter((target) => target !== to);
  return new Map([...graph, [from, others], [to, [...(graph.get(to) ?? []), from]]]);
}

describe('repository files', () => {
  const code = /\.(ts|mts|cts|js|mjs|cjs|css|html|sql)$/;
  const tracked = execFileSync(
    // A checkout may belong to a different user.
    'git',
    ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    { cwd: root, encoding: 'utf8' },
  )
    .split('\0')
    .filter((file) => file !== '');
  const read = (file: string) => {
    try {
      return readFileSync(join(root, file), 'utf8');
    } catch {
      return ''; // Removed, and not committed yet.
    }
  };

  it('keeps each file in src, examples, bench and scripts to 600 lines', () => {
    const ours = tracked.filter((file) => /^(src|examples|bench|scripts)\//.test(file) && code.test(file));
    expect(ours.length).toBeGreaterThan(10);
    const long = ours
      .map((file) => ({ file, lines: read(file).split('\n').length - 1 }))
      .filter(({ lines }) => lines > 600);
    expect(long).toEqual([]);
  });

  it('names no machine path and no package registry', () => {
    // In parts, so that this file does not match itself.
    const traces = [
      new RegExp(['', '(work|root|Users)', ''].join('/')),
      new RegExp(['', 'tmp', '[a-z]'].join('/')),
      new RegExp(
        `${'regis'}${'try'}\\.(npm|yarn)|//${'regis'}${'try'}\\.|${'verd'}${'accio'}|${'arti'}${'factory'}`,
      ),
    ];
    const text = tracked.filter((file) => !/\.(png|jpe?g|webp|ico|woff2?)$/.test(extname(file)));
    expect(text).toContain('package.json');
    const found = text.flatMap((file) => {
      const content = read(file);
      // Most files have no trace at all.
      if (!traces.some((trace) => trace.test(content))) return [];
      return content
        .split('\n')
        .map((line, at) => ({ line, at: `${file}:${at + 1}` }))
        .filter(({ line }) => traces.some((trace) => trace.test(line)))
        .map(({ line, at }) => `${at}: ${line.trim().slice(0, 100)}`);
    });
    expect(found).toEqual([]);
  });

  const sources = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => parsedFile(join(source, file)));

  it('has no default export in src', () => {
    const found = sources.filter(hasDefaultExport).map((file) => file.fileName);
    expect(found).toEqual([]);
    const sample = ['export default 1;', 'export default class {}', 'const a = 1; export { a as default };'];
    for (const text of sample) {
      expect(hasDefaultExport(ts.createSourceFile('x.ts', text, ts.ScriptTarget.Latest, true))).toBe(true);
    }
  });

  it('has no mutable module variable in src', () => {
    const found = sources.filter(hasModuleVariable).map((file) => file.fileName);
    expect(found).toEqual([]);
    expect(hasModuleVariable(ts.createSourceFile('x.ts', 'let a = 1;', ts.ScriptTarget.Latest, true))).toBe(
      true,
    );
  });
});

function hasDefaultExport(file: ts.SourceFile): boolean {
  return file.statements.some((statement) => {
    if (ts.isExportAssignment(statement)) return !statement.isExportEquals;
    if (
      ts.isExportDeclaration(statement) &&
      statement.exportClause &&
      ts.isNamedExports(statement.exportClause)
    ) {
      return statement.exportClause.elements.some((element) => element.name.text === 'default');
    }
    const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
    return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword) ?? false;
  });
}

function hasModuleVariable(file: ts.SourceFile): boolean {
  return file.statements.some(
    (statement) =>
      ts.isVariableStatement(statement) && !(statement.declarationList.flags & ts.NodeFlags.Const),
  );
}

interface Declared {
  readonly file: string;
  readonly isExported: boolean;
  /** A constant that only its file sees, such as `NONE`: exempt. */
  readonly isFileConstant: boolean;
}

/** Every top-level name with the files that declare it; a name counts once for a file (overloads, a const and its type). */
function declaredNames(files: readonly { file: string; source: ts.SourceFile }[]): Map<string, Declared[]> {
  const names = new Map<string, Declared[]>();
  for (const { file, source } of files) {
    const own = new Map<string, { isExported: boolean; isFileConstant: boolean }>();
    for (const statement of source.statements) {
      const isExported = isExportedStatement(statement);
      for (const name of namesOf(statement)) {
        const isFileConstant = ts.isVariableStatement(statement) && /^[A-Z][A-Z0-9_]*$/.test(name);
        const before = own.get(name);
        own.set(name, {
          isExported: isExported || before?.isExported === true,
          isFileConstant: isFileConstant && !isExported,
        });
      }
    }
    for (const [name, declared] of own) names.set(name, [...(names.get(name) ?? []), { file, ...declared }]);
  }
  return names;
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.flatMap(({ name }) =>
      ts.isIdentifier(name) ? [name.text] : [],
    );
  }
  const { name } = statement as ts.Statement & { name?: ts.Node };
  return name && ts.isIdentifier(name) ? [name.text] : [];
}

function isExportedStatement(statement: ts.Statement): boolean {
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}

function conflicts(names: Map<string, Declared[]>): string[] {
  return [...names].flatMap(([name, declared]) => {
    const counted = declared.filter(({ isFileConstant }) => !isFileConstant);
    if (counted.length < 2 || !counted.some(({ isExported }) => isExported)) return [];
    return [`${name}: ${counted.map(({ file }) => file).join(', ')}`];
  });
}

describe('one name is declared once in src', () => {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ file, source: parsedFile(join(source, file)) }));

  it('exports no name twice and gives no private name that another file exports', () => {
    const names = declaredNames(files);
    expect(names.size).toBeGreaterThan(300);
    expect(conflicts(names)).toEqual([]);
  });

  it.each([
    ['two exports', 'export const a = 1;', 'export function a() {}', 1],
    ['an export and a private name', 'export class A {}', 'interface A {}', 1],
    ['a constant of one file beside an export', 'export const NONE = 1;', 'const NONE = 2;', 0],
    ['two private names', 'const a = 1;', 'const a = 2;', 0],
    ['a const and its type in one file', 'export const A = 1; export type A = 1;', 'const b = 1;', 0],
  ])('the check counts %s', (_, first, second, expected) => {
    const parse = (file: string, text: string) => ({
      file,
      source: ts.createSourceFile(file, text, ts.ScriptTarget.Latest),
    });
    const names = declaredNames([parse('first.ts', first), parse('second.ts', second)]);
    expect(conflicts(names)).toHaveLength(expected);
  });
});
