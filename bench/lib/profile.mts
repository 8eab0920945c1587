// Reads the output of `node --cpu-prof`.

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds since the previous sample. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  readonly where: string;
  readonly microseconds: number;
}

/** Excluded: the server was idle, or its program was starting. */
const IDLE = '(idle)';

/**
 * Self time of functions, longest first. A function that occurs several times in the tree is one row.
 * @param last number of microseconds at the end of the profile, without start and warm-up.
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
    // The time until the next sample belongs to the function of this one.
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

/** Short, and without local folders. */
function whereOf(url: string, line: number): string {
  if (url === '') return '';
  if (url.startsWith('node:')) return `${url}:${line}`;
  const path = url.replace(/^file:\/\//, '');
  const inside = /(?:node_modules|dist|js)\/(.*)$/.exec(path);
  return `${inside?.[1] ?? path.split('/').pop()}:${line}`;
}
