// Installs the adapters, frameworks and runtimes of test/compat into that folder, if its lock file has changed since.
// They are not among the project's dependencies, because `npm install && npm start` needs none of their 600 MB.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../test/compat', import.meta.url));
const lock = join(folder, 'package-lock.json');
const installed = join(folder, 'node_modules', '.installed-lock.json');

/** @throws Error when npm fails. */
function installCompat() {
  if (existsSync(installed) && readFileSync(installed).equals(readFileSync(lock))) return;
  console.log('installing the packages of test/compat');
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  copyFileSync(lock, installed);
}

installCompat();
