// Reads what `node --cpu-prof` writes.

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds from each sample to the one before it. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  readonly where: string;
  readonly microseconds: number;
}

/** Not the server's own work: it waited, or its program was starting. */
const IDLE = '(idle)';

/**
 * Time that functions took by themselves, most first; the same function in several places of the tree is one row.
 * @param last Only the end of the profile, so many microseconds: before it stand the start and the warm-up.
 */
export function selfTimes(
  { nodes, samples, timeDeltas }: CpuProfile,
  last = Number.POSITIVE_INFINITY,
): { rows: SelfTime[]; total: number } {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const rows = new Map<string, SelfTime>();
  let total = 0;
  let left = timeDeltas.reduce((sum, delta) => sum + delta, 0);
  samples.forEach((id, i) => {
    const frame = frames.get(id);
    // The time until the next sample is that of this one's function.
    const microseconds = Math.max(0, timeDeltas[i + 1] ?? 0);
    left -= timeDeltas[i] ?? 0;
    if (left > last || !frame || frame.functionName === IDLE) return;
    total += microseconds;
    const name = frame.functionName || '(anonymous)';
    const where = whereOf(frame.url, frame.lineNumber + 1);
    const key = `${name} ${where}`;
    rows.set(key, { name, where, microseconds: (rows.get(key)?.microseconds ?? 0) + microseconds });
  });
  return { rows: [...rows.values()].sort((a, b) => b.microseconds - a.microseconds), total };
}

/** Short, and without the folders of the machine. */
function whereOf(url: string, line: number): string {
  if (url === '') return '';
  if (url.startsWith('node:')) return `${url}:${line}`;
  const path = url.replace(/^file:\/\//, '');
  const inside = /(?:node_modules|dist|js)\/(.*)$/.exec(path);
  return `${inside?.[1] ?? path.split('/').pop()}:${line}`;
}
