import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './port.js';

/** A series in the response to a query. */
export interface PrometheusSeries {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

/** A Prometheus that scrapes the given targets every two seconds. */
export class Prometheus {
  readonly #url: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.#url = url;
    this.#child = child;
    this.#directory = directory;
  }

  /**
   * @param jobs ports on this machine, by job.
   * @param ruleFiles that it evaluates every two seconds.
   */
  static async start(
    jobs: Readonly<Record<string, number>>,
    ruleFiles: readonly string[] = [],
  ): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), 'hotpath-prometheus-'));
    const scrapes = Object.entries(jobs).map(([job, port]) => ({
      job_name: job,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    }));
    const timing = { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '2s' };
    const file = join(directory, 'prometheus.yml');
    // JSON is YAML.
    writeFileSync(file, JSON.stringify({ global: timing, scrape_configs: scrapes, rule_files: ruleFiles }));
    const port = await freePort();
    const child = spawn(
      'prometheus',
      [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--enable-feature=exemplar-storage',
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    process.once('exit', () => child.kill('SIGKILL'));
    await once(child, 'spawn');
    return new Prometheus(`http://127.0.0.1:${port}`, child, directory);
  }

  /** @returns nothing while it starts. */
  async query(query: string): Promise<readonly PrometheusSeries[]> {
    const data = await this.get(`/api/v1/query?query=${encodeURIComponent(query)}`);
    return (data as { result?: PrometheusSeries[] } | undefined)?.result ?? [];
  }

  /** @returns `data` of the response; `undefined` while it starts. */
  async get(path: string): Promise<unknown> {
    const answer = await fetch(this.#url + path).catch(() => undefined);
    return answer?.ok ? ((await answer.json()) as { data: unknown }).data : undefined;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Problems that `promtool check metrics` finds in an exposition, a line each. */
export function checkMetrics(text: string): string[] {
  return promtool(['check', 'metrics'], text).lines;
}

/** Runs `promtool`. @returns its exit code and the lines that it printed. */
export function promtool(args: readonly string[], input = ''): { code: number | null; lines: string[] } {
  const { stderr, stdout, error, status } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  if (error) throw error;
  return { code: status, lines: `${stdout}\n${stderr}`.split('\n').filter((line) => line !== '') };
}
