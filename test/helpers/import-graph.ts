import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import ts from 'typescript';

/** Every source file, by its path inside `src`, with the paths and packages that it imports. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** The folders that a folder may import, besides itself. `file.ts` stands for one file alone. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  runtime: [],
  http: [],
  config: [],
  exchange: ['runtime', 'http', 'config/errors.ts'],
  store: ['runtime', 'http', 'config'],
  telemetry: ['runtime', 'http', 'exchange', 'config'],
  middleware: ['runtime', 'http', 'exchange', 'config'],
  cache: ['runtime', 'http', 'exchange', 'store', 'config'],
  entries: ['http', 'exchange', 'store', 'config', 'telemetry', 'middleware', 'cache'],
  front: ['runtime', 'http', 'exchange', 'store', 'config', 'middleware', 'cache'],
  'hotpath.ts': [
    'runtime',
    'http',
    'exchange',
    'store',
    'config',
    'telemetry',
    'middleware',
    'cache',
    'front',
  ],
  'index.ts': [
    'http',
    'exchange',
    'store',
    'config',
    'telemetry',
    'middleware',
    'cache',
    'front',
    'hotpath.ts',
  ],
};

/** Imports that one middleware may have beyond its folder. */
const extra: Readonly<Record<string, readonly string[]>> = { metrics: ['telemetry'] };

/** Reads the imports of every `.ts` file under `folder`, including type imports. */
export function readImports(folder: string): ImportGraph {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return new Map(
    files.map((file) => {
      const from = join(folder, file);
      const imports = importsOf(from, readFileSync(from, 'utf8')).map((name) =>
        name.startsWith('.')
          ? posix(relative(folder, join(dirname(from), name.replace(/\.js$/, '.ts'))))
          : name,
      );
      return [posix(file), imports];
    }),
  );
}

/** The specifiers of every kind of import in TypeScript, as written. */
export function importsOf(file: string, text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const name = importedName(node);
    if (name !== undefined) found.push(name);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return [...new Set(found)];
}

function importedName(node: ts.Node): string | undefined {
  let target: ts.Node | undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) target = node.moduleSpecifier;
  else if (ts.isExternalModuleReference(node)) target = node.expression;
  else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) target = node.argument.literal;
  else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    target = node.arguments[0];
  }
  return target && ts.isStringLiteralLike(target) ? target.text : undefined;
}

/** Import errors, one sentence each; empty when all imports run one way. */
export function checkImports(graph: ImportGraph): string[] {
  const middlewares = [...graph.keys()].filter((file) => roomOf(file) === 'entries').map(baseOf);
  const problems: string[] = [];
  for (const [file, imports] of graph) {
    const room = roomOf(file);
    if (allowed[room] === undefined) problems.push(`${file}: the room "${room}" has no rule yet`);
    for (const target of imports) {
      const problem = graph.has(target) ? wrongArrow(file, target, middlewares) : wrongOutside(room, target);
      if (problem !== undefined) problems.push(`${file} -> ${target}: ${problem}`);
    }
  }
  return [...problems, ...cycles(graph)];
}

function wrongArrow(file: string, target: string, middlewares: readonly string[]): string | undefined {
  const from = roomOf(file);
  const to = roomOf(target);
  if (from === 'middleware' && to === 'middleware') {
    const owner = ownerOf(target, middlewares);
    // A file that belongs to no middleware is common to all.
    if (owner !== undefined && owner !== ownerOf(file, middlewares)) {
      return 'middlewares never import each other';
    }
    return undefined;
  }
  if (from === to) return undefined;
  const rules = [...(allowed[from] ?? []), ...(extra[ownerOf(file, middlewares) ?? ''] ?? [])];
  return rules.includes(to) || rules.includes(target) ? undefined : `${from} may not import ${to}`;
}

function wrongOutside(room: string, target: string): string | undefined {
  if (/^(\.|src\/)/.test(target) || target.endsWith('.ts')) return 'there is no such file in src';
  if (room === 'http') return 'http is pure: it imports neither packages nor Node';
  return undefined;
}

/** The middleware that a file in `middleware` belongs to: `timing-address.ts` belongs to `timing`. */
function ownerOf(file: string, middlewares: readonly string[]): string | undefined {
  if (roomOf(file) !== 'middleware') return undefined;
  const base = baseOf(file);
  return middlewares
    .filter((name) => base === name || base.startsWith(`${name}-`))
    .sort((a, b) => b.length - a.length)[0];
}

function cycles(graph: ImportGraph): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file);
    if (at >= 0) found.push(`cycle: ${[...trail.slice(at), file].join(' -> ')}`);
    if (at >= 0 || done.has(file)) return;
    for (const target of graph.get(file) ?? []) if (graph.has(target)) visit(target, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

const posix = (file: string) => file.split(sep).join('/');
const roomOf = (file: string) => file.split('/')[0] ?? file;
const baseOf = (file: string) => (file.split('/').at(-1) ?? file).replace(/\.ts$/, '');
