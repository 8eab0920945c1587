#!/usr/bin/env node
import { guarded, unawaited } from '../runtime/guard.js';
import { runCli } from './run-cli.js';

async function main(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    // A reader such as `head` has ended, or the disk is full. Without a listener Node would print a stack.
    stream.once('error', guarded('output', endWithFailure));
  }
  // Not `process.exit`, which would drop output that waits in a pipe.
  process.exitCode = await runCli(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    error: (text) => void process.stderr.write(text),
    columns: process.stderr.isTTY ? process.stderr.columns : undefined,
  });
}

function endWithFailure(): void {
  process.exit(1);
}

void unawaited(main(), 'hotpath');
