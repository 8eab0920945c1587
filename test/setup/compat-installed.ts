import { setTimeout as delay } from 'node:timers/promises';
import { isCompatInstalled } from '../../scripts/install-compat.mjs';

const installer = Number(process.env.TEST_COMPAT_INSTALL);

function isInstalling(): boolean {
  try {
    return process.kill(installer, 0);
  } catch {
    return false;
  }
}

/** Waits until the packages of test/compat are installed. */
async function installedPackages(): Promise<void> {
  while (!isCompatInstalled()) {
    // It may have ended between the two looks.
    if (!isInstalling() && !isCompatInstalled())
      throw new Error('npm could not install the packages of test/compat; its reason is above');
    await delay(100);
  }
}

await installedPackages();
