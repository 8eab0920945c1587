import cluster from 'node:cluster';

/** CPU and memory of another process of the app. */
export interface ProcessUsage {
  readonly pid: number;
  /** `worker 1` of a cluster, or the name given to `watchProcess`. */
  readonly name: string;
  /** CPU time per second, in cores; `null` where it cannot be read. */
  readonly cpuCores: number | null;
  /** Resident memory. Bytes; `null` where it cannot be read. */
  readonly rssBytes: number | null;
}

/** Processes that are looked at. */
const MOST_PROCESSES = 64;

/**
 * Reads CPU and memory of other processes: the workers of `node:cluster`, seen from the primary, and those that were
 * named. `pidusage` is loaded once there is one. It never rejects.
 */
export class OtherProcesses {
  readonly #named = new Map<number, string>();

  /** @returns what ends the watching; idempotent. */
  watch(pid: number, name: string): () => void {
    this.#named.set(pid, name);
    return () => {
      if (this.#named.get(pid) === name) this.#named.delete(pid);
    };
  }

  async read(): Promise<ProcessUsage[]> {
    const names = this.#names();
    if (names.size === 0) return [];
    const pids = [...names.keys()].slice(0, MOST_PROCESSES);
    const usage = await readUsage(pids);
    return pids.map((pid) => {
      const read = usage[pid];
      // The package counts in percent of one core.
      return {
        pid,
        name: names.get(pid)!,
        cpuCores: read ? read.cpu / 100 : null,
        rssBytes: read ? read.memory : null,
      };
    });
  }

  #names(): Map<number, string> {
    const names = new Map(this.#named);
    for (const worker of cluster.isPrimary ? Object.values(cluster.workers ?? {}) : []) {
      const pid = worker?.process.pid;
      if (pid !== undefined) names.set(pid, `worker ${worker!.id}`);
    }
    return names;
  }
}

type Usage = Readonly<Record<number, { readonly cpu: number; readonly memory: number } | undefined>>;

async function readUsage(pids: readonly number[]): Promise<Usage> {
  try {
    const { default: pidusage } = await import('pidusage');
    return (await pidusage([...pids])) as Usage;
  } catch {
    return {}; // none of them is there any more
  }
}
