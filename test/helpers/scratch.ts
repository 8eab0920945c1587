import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** The file system in memory that Linux has for every process. */
const IN_MEMORY = '/dev/shm';
const ENOUGH_BYTES = 2 * 1024 ** 3;

/**
 * The folder for the files of servers that tests start: in memory if there is room. Files on a disk cost a server several
 * times the CPU time, although nothing waits for the disk. Containers often have 64 MB there.
 */
export function scratchFolder(): string {
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    return bavail * bsize >= ENOUGH_BYTES ? IN_MEMORY : tmpdir();
  } catch {
    return tmpdir();
  }
}
