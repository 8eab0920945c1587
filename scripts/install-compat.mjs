// Installs the adapters, frameworks and runtimes of test/compat into that folder, if its lock file has changed since.
// They are not among the project's dependencies, because `npm install && npm start` needs none of their 600 MB.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(import.meta.url);
const folder = join(script, '../../test/compat');
const lock = join(folder, 'package-lock.json');
const installed = join(folder, 'node_modules', '.installed-lock.json');

export function isCompatInstalled() {
  return existsSync(installed) && readFileSync(installed).equals(readFileSync(lock));
}

/** @throws Error when npm fails. */
function installCompat() {
  console.log('installing the packages of test/compat');
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  copyFileSync(lock, installed);
}

if (process.argv[1] === script && !isCompatInstalled()) installCompat();
