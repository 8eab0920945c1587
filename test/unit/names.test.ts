import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parsedFile } from '../helpers/import-graph.js';

const source = fileURLToPath(new URL('../../src', import.meta.url));

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
