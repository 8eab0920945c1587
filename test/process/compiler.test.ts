import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { fragmentsOf } from '../docs/examples.js';
import { looseCallbacks } from '../helpers/loose-callbacks.js';

const root = join(import.meta.dirname, '../..');

/** Callbacks of the app: their errors reach the app, as without hotpath. */
const OF_THE_APP = [
  'exchange/body-chunk.ts: process.nextTick(callback as Callback, error)',
  "exchange/exchange.ts: res.once('finish', callback as Callback)",
];

/** Names that fragments may use without declaring them. */
const AMBIENT = `
import type { Express, RequestHandler } from 'express';
import type { Hotpath } from 'hotpath';
import type { Pool } from 'pg';
declare global {
  const app: Express;
  const perf: Hotpath;
  const hotpath: typeof import('hotpath').hotpath;
  const authenticate: RequestHandler;
  const authorize: RequestHandler;
  const ca: string;
  const pool: Pool;
  const password: string;
  function loadProducts(): Promise<unknown>;
  function renderPost(slug: string): Promise<string>;
  function ordersOf(user: unknown): Promise<unknown>;
  function updateProduct(id: string): Promise<unknown>;
  namespace Express {
    interface Request {
      user: { id: string };
    }
  }
}
`;

/** Callbacks and promises, safe and unsafe ones. */
const SAMPLE = join(root, 'sample/sample.ts');
const SAMPLE_CODE = `
declare function guarded<F>(where: string, callback: F): F;
declare function unawaited(promise: unknown, where: string): Promise<void>;
declare const emitter: { on(name: string, listener: () => void): void; once(name: string, listener: () => void): void };
declare function run(): Promise<void>;
declare function setTimeout(callback: () => void, ms?: number): number;
declare const process: { nextTick(callback: () => void): void };
const safe = guarded('a', () => {});
const loose = () => {};
emitter.on('a', safe);
emitter.on('a', guarded('a', () => {}));
setTimeout(safe, 1);
void unawaited(run(), 'a');
new Promise<void>((resolve) => setTimeout(resolve, 1)).then(() => {});
emitter.on('b', loose);
emitter.once('c', () => {});
emitter['once']('d', loose);
setTimeout(() => {}, 1);
process.nextTick(loose);
run();
void run();
run().then(() => {}).catch(() => {});
export {};
`;

/** Shows that the compiler checks fragments at all. */
const WRONG = join(root, 'fragment-wrong.ts');

const files = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];
const fragments = files
  .filter((file) => file.endsWith('.md'))
  .flatMap((file) =>
    fragmentsOf(readFileSync(join(root, file), 'utf8')).map(({ name, code }, at) => ({
      title: `${file}: ${name}`,
      path: join(root, `fragment-${file.replaceAll('/', '-')}-${at}.ts`),
      code: `${code}\nexport {};\n`,
    })),
  );

const ambient = join(root, 'fragment-ambient.ts');
const virtual = new Map([
  [ambient, AMBIENT],
  [SAMPLE, SAMPLE_CODE],
  [WRONG, 'hotpath({ noSuchOption: true });\nexport {};\n'],
  ...fragments.map(({ path, code }) => [path, code] as const),
]);

/** Reads src and the fragments with types: each fragment is a module of its own in the root. */
function readProgram(): ts.Program {
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config;
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  // As the compiler does it: half of the text of @types/node is comments.
  host.jsDocParsingMode = ts.JSDocParsingMode.ParseForTypeErrors;
  const { fileExists, readFile } = host;
  host.fileExists = (path) => virtual.has(path) || fileExists(path);
  host.readFile = (path) => virtual.get(path) ?? readFile(path);
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (path, language, ...rest) => {
    const text = virtual.get(path);
    return text === undefined
      ? getSourceFile(path, language, ...rest)
      : ts.createSourceFile(path, text, language, true);
  };
  // The page of the dashboard runs in browsers, which survive exceptions.
  const source = ts.sys.readDirectory(join(root, 'src'), ['.ts'], ['**/dashboard/page']);
  return ts.createProgram([...source, ...virtual.keys()], { ...options, noEmit: true }, host);
}

const program = readProgram();

function errorsOf(path: string): string[] {
  const source = program.getSourceFile(path)!;
  const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  return problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

describe('the code in README and docs', () => {
  it.each(fragments)('compiles: $title', ({ path }) => {
    expect(errorsOf(path)).toEqual([]);
  });

  it('compiles with the declarations that it uses', () => {
    expect(errorsOf(ambient)).toEqual([]);
  });

  it('would not compile with an option that does not exist', () => {
    expect(errorsOf(WRONG).join()).toContain('noSuchOption');
  });
});

describe('the event loop', () => {
  it('calls no listener, timer or continuation of hotpath that could throw into it', () => {
    expect(looseCallbacks(program, join(root, 'src'))).toEqual(OF_THE_APP);
  });

  it('finds an unguarded callback in the check itself', () => {
    const found = looseCallbacks(program, dirname(SAMPLE)).map((line) => line.replace('sample.ts: ', ''));
    expect(found).toEqual([
      'new Promise<void>((resolve) => setTimeout(resolve, 1)).then(() => {})',
      "emitter.on('b', loose)",
      "emitter.once('c', () => {})",
      "emitter['once']('d', loose)",
      'setTimeout(() => {}, 1)',
      'process.nextTick(loose)',
      'run()',
      'run()',
      'run().then(() => {}).catch(() => {})',
    ]);
  });
});
