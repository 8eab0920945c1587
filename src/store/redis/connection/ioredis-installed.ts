import { createRequire } from 'node:module';
import { join } from 'node:path';
import { configError } from '../../../options/errors.js';

/**
 * Fails at start if hotpath needs ioredis and it is not installed. Otherwise the first connection would fail, long
 * after the start, and again and again.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID`.
 */
export function requireIoredis(): void {
  // Found from the program, since a bundle of the app has no folder of hotpath, and ioredis may be in the bundle too.
  const hotpath = resolveFrom(process.argv[1] ?? join(process.cwd(), 'main.js'), 'hotpath/package.json');
  if (hotpath === undefined || resolveFrom(hotpath, 'ioredis') !== undefined) return;
  const message =
    'needs the package ioredis, which is not installed; run npm install ioredis, or remove `cache.redis`';
  throw configError([{ path: 'cache.redis', message }]);
}

/** The file that `require(name)` in another file loads; `undefined` if there is none. */
function resolveFrom(file: string, name: string): string | undefined {
  try {
    return createRequire(file).resolve(name);
  } catch {
    return undefined;
  }
}
