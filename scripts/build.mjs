// Builds `dist`. With `--if-changed`, does nothing while the files that it is built from and the built files are those of
// the last build. `npm install`, the checks and the test of the package each need a current `dist`.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The hashes of the last build. Not in `dist`, which is published. */
const record = join(root, 'node_modules', '.cache', 'hotpath-build.json');

const INPUTS = [
  'src',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsup.config.ts',
  'scripts/build.mjs',
  'scripts/optional-express-types.mjs',
];

// Before the build, so that a change during it counts as one after it.
const inputs = hashOf(INPUTS);
const recorded = existsSync(record) ? readFileSync(record, 'utf8') : undefined;
if (!process.argv.includes('--if-changed') || recorded !== currentState()) {
  const options = { cwd: root, stdio: 'inherit' };
  const tsup = join(root, 'node_modules', 'tsup', 'dist', 'cli-default.js');
  execFileSync(process.execPath, [tsup], options);
  execFileSync(process.execPath, [join(root, 'scripts', 'optional-express-types.mjs')], options);
  mkdirSync(dirname(record), { recursive: true });
  writeFileSync(record, currentState());
}

/** The state of the inputs and of `dist`, as text. */
function currentState() {
  return JSON.stringify({ node: process.version, inputs, outputs: hashOf(['dist']) });
}

/** The hash of the names and the contents of files and of all files in folders. */
function hashOf(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesOf).sort()) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}

function filesOf(path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  const entries = readdirSync(full, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length));
}
