// Installs the release lines of PostgreSQL for `npm run test:postgres` into test/postgres-versions, if its lock file has
// changed since. They are not among the project's dependencies, because `npm install` needs none of their 300 MB.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../test/postgres-versions', import.meta.url));
const lock = join(folder, 'package-lock.json');
const installed = join(folder, 'node_modules', '.installed-lock.json');

/** The release lines, such as `14`. */
export const POSTGRES_LINES = ['14', '15', '16', '17', '18'];

/** @throws Error when npm fails. */
export function installPostgres() {
  if (existsSync(installed) && readFileSync(installed).equals(readFileSync(lock))) return;
  console.log('installing PostgreSQL', POSTGRES_LINES.join(', '));
  const run = (program, args, cwd) =>
    execFileSync(program, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder);
  // The only script of the packages: npm keeps no symbolic links.
  for (const line of POSTGRES_LINES)
    run(process.execPath, ['scripts/hydrate-symlinks.js'], join(folder, 'node_modules', `postgres-${line}`));
  copyFileSync(lock, installed);
}
