import { join } from 'node:path';
import ts from 'typescript';
import { root } from './project.js';

/** Cache of installed files, which are the same for every project. */
const installed = new Map<string, ts.SourceFile | undefined>();

/**
 * Compiles files of a project in the strictest mode, without `skipLibCheck`, and returns the diagnostics. Only the
 * files of TypeScript itself and of `@types`, which hotpath cannot change, are not checked.
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
    // One file at a time, because all at once would be checked before the first is written.
    ...names.flatMap((name) => program.emit(program.getSourceFile(name)).diagnostics),
  ];
  return ts.formatDiagnostics(found, host);
}

function isOfTypes(file: string): boolean {
  return /[\\/]node_modules[\\/]@types[\\/]/.test(file);
}
