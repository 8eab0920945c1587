import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { fragmentsOf } from '../../docs/examples.js';

const root = join(import.meta.dirname, '../../..');

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

/** The errors of the compiler for each fragment, compiled as a module of its own in the root. */
function errorsByPath(): Map<string, string[]> {
  const ambient = join(root, 'fragment-ambient.ts');
  const wrong = 'hotpath({ noSuchOption: true });\nexport {};\n';
  const virtual = new Map([
    [ambient, AMBIENT],
    [WRONG, wrong],
    ...fragments.map(({ path, code }) => [path, code] as const),
  ]);
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config;
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (path) => virtual.has(path) || fileExists(path);
  host.readFile = (path) => virtual.get(path) ?? readFile(path);
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (path, language, ...rest) => {
    const text = virtual.get(path);
    return text === undefined
      ? getSourceFile(path, language, ...rest)
      : ts.createSourceFile(path, text, language);
  };
  const program = ts.createProgram([...virtual.keys()], options, host);
  const found = new Map<string, string[]>();
  for (const path of virtual.keys()) {
    const source = program.getSourceFile(path)!;
    const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    found.set(
      path,
      problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
    );
  }
  return found;
}

describe('the code in README and docs', () => {
  const errors = errorsByPath();

  it.each(fragments)('compiles: $title', ({ path }) => {
    expect(errors.get(path)).toEqual([]);
  });

  it('would not compile with an option that does not exist', () => {
    expect(errors.get(WRONG)?.join()).toContain('noSuchOption');
  });
});
