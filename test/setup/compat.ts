import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Installs the packages of test/compat where they are missing. Other tests run meanwhile: it takes a minute. */
export default function setup(): () => Promise<void> {
  const script = fileURLToPath(new URL('../../scripts/install-compat.mjs', import.meta.url));
  const install = spawn(process.execPath, [script], { stdio: 'inherit' });
  const ended = once(install, 'exit');
  process.env.TEST_COMPAT_INSTALL = String(install.pid);
  return async () => {
    await ended;
  };
}
