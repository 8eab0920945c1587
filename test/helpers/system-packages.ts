import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Installs a Debian package where that is possible: as root, with `apt-get`.
 * @throws {Error} elsewhere, with the name of the package to install.
 */
export async function installDebianPackage(name: string, neededFor: string): Promise<void> {
  const advice = `${neededFor} needs the package "${name}"; install it: apt-get install --no-install-recommends ${name}`;
  if (process.getuid?.() !== 0) throw new Error(advice);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['update'], { env });
    await run('apt-get', ['install', '-y', '--no-install-recommends', name], {
      env,
      maxBuffer: 64 * 1024 ** 2,
    });
  } catch (error) {
    throw new Error(advice, { cause: error });
  }
}
