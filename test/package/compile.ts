import { join } from 'node:path';
import ts from 'typescript';
import { root } from './project.js';

/** What is installed is the same for every project: it is read once. */
const installed = new Map<string, ts.SourceFile | undefined>();

/**
 * Compiles files of a project as strictly as a project can, without `skipLibCheck`, and returns what the compiler has
 * to say. Only TypeScript's own files and those of `@types`, which are as they are whatever we do, are not checked.
 */
export function compile(folder: string, files: readonly string[], own: ts.CompilerOptions): string {
  const options: ts.CompilerOptions = {
    strict: true,
    target: ts.ScriptTarget.ES2022,
    skipLibCheck: false,
    types: ['node'],
    ...own,
  };
  const host = ts.createCompilerHost(options);
  host.getCurrentDirectory = () => folder;
  const read = host.getSourceFile;
  host.getSourceFile = (file, how, ...others) => {
    if (!file.startsWith(join(root, 'node_modules'))) return read(file, how, ...others);
    const { languageVersion, impliedNodeFormat } = typeof how === 'object' ? how : { languageVersion: how };
    const key = `${languageVersion} ${impliedNodeFormat} ${file}`;
    if (!installed.has(key)) installed.set(key, read(file, how, ...others));
    return installed.get(key);
  };
  const names = files.map((file) => join(folder, file));
  const program = ts.createProgram(names, options, host);
  const checked = program
    .getSourceFiles()
    .filter((file) => !program.isSourceFileDefaultLibrary(file) && !isOfTypes(file.fileName));
  const found = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...checked.flatMap((file) => [
      ...program.getSyntacticDiagnostics(file),
      ...program.getSemanticDiagnostics(file),
    ]),
    // One by one: all at once are checked whole before they are written.
    ...names.flatMap((name) => program.emit(program.getSourceFile(name)).diagnostics),
  ];
  return ts.formatDiagnostics(found, host);
}

function isOfTypes(file: string): boolean {
  return /[\\/]node_modules[\\/]@types[\\/]/.test(file);
}
