import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import ts from 'typescript';

/** Every file of the source, by its path inside `src`, with what it imports: such paths, and packages by name. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** Rooms that only the entry files may go beyond, from the lowest up: each may import the rooms before it. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  http: [],
  runtime: [],
  events: [],
  options: ['runtime'],
  exchange: ['http', 'runtime', 'options/errors.ts'],
  store: ['http', 'runtime', 'events', 'options'],
  telemetry: ['http', 'runtime', 'events', 'exchange', 'options', 'cache/stats.ts'],
  middleware: ['http', 'runtime', 'events', 'exchange', 'options'],
  functions: ['runtime', 'options', 'store'],
  cache: ['http', 'runtime', 'events', 'exchange', 'options', 'store', 'functions'],
  warming: ['runtime', 'events', 'options', 'store', 'telemetry', 'cache'],
  checks: ['runtime', 'exchange', 'options', 'cache'],
  assets: ['http', 'runtime', 'options', 'cache/request/handler-hints.ts'],
  'front-door': [
    'http',
    'runtime',
    'events',
    'exchange',
    'options',
    'store',
    'telemetry',
    'middleware',
    'cache',
    'checks',
  ],
};

const everyRoom = Object.keys(rooms);

/** Which rooms a room may import, besides itself. `file.ts` stands for one file alone. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  ...rooms,
  'config.ts': ['options', 'telemetry', 'middleware', 'cache', 'store'],
  'environment.ts': ['options', 'config.ts'],
  'hotpath.ts': [...everyRoom, 'config.ts'],
  postgres: [
    'runtime',
    'events',
    'exchange',
    'options',
    'store',
    'telemetry',
    'middleware',
    'environment.ts',
    'hotpath.ts',
  ],
  admin: [...everyRoom, 'hotpath.ts', 'postgres'],
  'index.ts': [...everyRoom, 'config.ts', 'environment.ts', 'hotpath.ts'],
  // No room may import it.
  cli: [...everyRoom, 'config.ts', 'environment.ts', 'hotpath.ts', 'postgres'],
};

/** Additional rooms that one middleware may import. */
const extra: Readonly<Record<string, readonly string[]>> = {
  metrics: ['telemetry'],
  'load-shedding': ['telemetry'],
};

/** The rooms inside `cache`, from the lowest up: a room imports only rooms before it, and the files beside them. */
const cacheRooms = [
  'request',
  'lookup',
  'storage',
  'collapse',
  'invalidate',
  'serve',
  'revalidate',
  'fill',
  'explain',
];

/** Reads what every `.ts` file under `folder` imports; an import of types is an arrow like any other. */
export function readImports(folder: string): ImportGraph {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return new Map(
    files.map((file) => {
      const from = join(folder, file);
      const imports = importsIn(parsedFile(from)).map((name) =>
        name.startsWith('.')
          ? posix(relative(folder, join(dirname(from), name.replace(/\.js$/, '.ts'))))
          : name,
      );
      return [posix(file), imports];
    }),
  );
}

/** The names in every kind of import that TypeScript has, as they are written. */
export function importsOf(file: string, text: string): string[] {
  return importsIn(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
}

const parsed = new Map<string, ts.SourceFile>();

/** Parses a file once in a process, because several checks read all of the source. */
export function parsedFile(path: string): ts.SourceFile {
  let file = parsed.get(path);
  if (!file) {
    const options = {
      languageVersion: ts.ScriptTarget.Latest,
      jsDocParsingMode: ts.JSDocParsingMode.ParseNone,
    };
    file = ts.createSourceFile(path, readFileSync(path, 'utf8'), options, true);
    parsed.set(path, file);
  }
  return file;
}

function importsIn(file: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const name = importedName(node);
    if (name !== undefined) found.push(name);
    ts.forEachChild(node, visit);
  };
  visit(file);
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

/** Imports in a wrong direction, one sentence each; empty if all run one way. */
export function checkImports(graph: ImportGraph): string[] {
  const problems: string[] = [];
  for (const [file, imports] of graph) {
    const room = roomOf(file);
    if (allowed[room] === undefined) problems.push(`${file}: the room "${room}" has no rule yet`);
    for (const target of imports) {
      const problem = graph.has(target) ? wrongArrow(file, target) : wrongOutside(room, target);
      if (problem !== undefined) problems.push(`${file} -> ${target}: ${problem}`);
    }
  }
  return [...problems, ...cycles(graph)];
}

function wrongArrow(file: string, target: string): string | undefined {
  const from = roomOf(file);
  const to = roomOf(target);
  if (from === 'middleware' && to === 'middleware') {
    const owner = folderOf(target);
    // A file beside the folders is common to all middlewares.
    if (owner !== undefined && owner !== folderOf(file)) return 'middlewares never import each other';
    return undefined;
  }
  if (from === 'cache' && to === 'cache') return wrongCacheArrow(folderOf(file), folderOf(target));
  if (from === to) return undefined;
  const rules = [...(allowed[from] ?? []), ...(extra[folderOf(file) ?? ''] ?? [])];
  return rules.includes(to) || rules.includes(target) ? undefined : `${from} may not import ${to}`;
}

function wrongCacheArrow(from: string | undefined, to: string | undefined): string | undefined {
  // Files beside the folders hold what all of them share, or put them together; only cycles are wrong there.
  if (from === undefined || to === undefined || from === to) return undefined;
  if (!cacheRooms.includes(from)) return `the room "cache/${from}" has no rule yet`;
  const isBefore = cacheRooms.indexOf(to) < cacheRooms.indexOf(from);
  return isBefore ? undefined : `cache/${from} may not import cache/${to}`;
}

function wrongOutside(room: string, target: string): string | undefined {
  if (/^(\.|src\/)/.test(target) || target.endsWith('.ts')) return 'there is no such file in src';
  if (room === 'http') return 'http is pure: it imports neither packages nor Node';
  return undefined;
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
/** The folder inside its room: `timing` for `middleware/timing/options.ts`. */
const folderOf = (file: string) => (file.split('/').length > 2 ? file.split('/')[1] : undefined);
