// Describes the machine of the measurements, without identifying it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './build.mjs';
import { CONTENDERS } from './contenders.mjs';
import { find } from './cores.mjs';

export interface Machine {
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: number;
  readonly kernel: string;
  readonly node: string;
  /** Commit of the measured package. */
  readonly commit: string;
  /** Packages and programs. */
  readonly versions: Readonly<Record<string, string>>;
}

export function describeMachine(): Machine {
  const processors = cpus();
  const packages = [...new Set(CONTENDERS.flatMap((contender) => contender.packages))].sort();
  const versions = Object.fromEntries(packages.map((name) => [name, versionOf(name)]));
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memory: Math.round(totalmem() / 1024 ** 3),
    kernel: `Linux ${release().split('-')[0]}`,
    node: process.version,
    commit: commit(),
    versions: { ...versions, ...programs() },
  };
}

function versionOf(name: string): string {
  const file =
    name === 'hotpath' ? join(ROOT, 'package.json') : join(ROOT, 'node_modules', name, 'package.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : 'not installed';
}

function commit(): string {
  try {
    return execFileSync('git', ['-C', ROOT, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Programs print their version on either stream, some with a nonzero exit code. */
function programs(): Record<string, string> {
  const asked = [
    { name: 'nginx', args: ['-v'], pattern: /nginx\/([\d.]+)/ },
    { name: 'varnishd', args: ['-V'], pattern: /varnish-([\d.]+)/ },
    { name: 'redis-server', args: ['--version'], pattern: /v=([\d.]+)/ },
    { name: 'wrk', args: ['-v'], pattern: /(\d+\.\d+\.\d+)/ },
  ];
  return Object.fromEntries(
    asked.map(({ name, args, pattern }) => {
      if (find(name) === undefined) return [name, 'not installed'];
      const { stdout, stderr } = spawnSync(name, args, { encoding: 'utf8' });
      return [name, pattern.exec(stdout + stderr)?.[1] ?? 'unknown'];
    }),
  );
}
