import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Installs the packages of test/compat where they are missing. */
export default function setup(): void {
  execFileSync(
    process.execPath,
    [fileURLToPath(new URL('../../scripts/install-compat.mjs', import.meta.url))],
    {
      stdio: 'inherit',
    },
  );
}
