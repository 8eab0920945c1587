import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { looseCallbacks, programOf } from '../../helpers/loose-callbacks.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Callbacks of the app: their errors reach the app, as without hotpath. */
const OF_THE_APP = [
  'exchange/body-chunk.ts: process.nextTick(callback as Callback, error)',
  "exchange/exchange.ts: res.once('finish', callback as Callback)",
];

describe('the event loop', () => {
  it('calls no listener, timer or continuation of hotpath that could throw into it', () => {
    expect(looseCallbacks(programOf(root), join(root, 'src'))).toEqual(OF_THE_APP);
  });

  it('finds an unguarded callback in the check itself', () => {
    const text = `
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
    `;
    const file = join(root, 'src', 'sample.ts');
    const host = ts.createCompilerHost({});
    const { getSourceFile } = host;
    host.getSourceFile = (name, ...rest) =>
      name === file
        ? ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
        : getSourceFile.call(host, name, ...rest);
    const program = ts.createProgram([file], { target: ts.ScriptTarget.ES2022, types: [] }, host);
    const found = looseCallbacks(program, join(root, 'src')).map((line) => line.replace('sample.ts: ', ''));
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
