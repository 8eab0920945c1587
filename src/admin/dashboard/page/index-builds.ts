import type { IndexBuild } from '../../../postgres/builds/types.js';
import { explainFailure, readApi } from './client.js';

/** Between two readings, and the most after failures. Milliseconds. */
const STEP = 1000;
const LONGEST_STEP = 15_000;

/** Another instance may not know a build at once. Readings that find none, until it counts as ended. */
const MOST_ABSENT = 10;

/** The most ids that one request may have. */
const MOST_IDS = 50;

/** A change of what is known about builds. */
export interface BuildsSeen {
  readonly builds: readonly IndexBuild[];
  /** Why the states are old; `undefined`: they are not. */
  readonly problem: string | undefined;
}

/** Reads the states of builds until they have ended. While the page is hidden it waits. */
export class BuildWatch {
  readonly #onSeen: (seen: BuildsSeen) => void;
  /** Ids that are read, with the number of readings that found nothing. */
  readonly #watched = new Map<string, number>();
  readonly #seen = new Map<string, IndexBuild>();
  #others: readonly IndexBuild[] = [];
  #timer: number | undefined;
  #failures = 0;

  constructor(onSeen: (seen: BuildsSeen) => void) {
    this.#onSeen = onSeen;
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#watched.size > 0) this.#next(0);
    });
  }

  /** Reads all builds once, and watches those that have not ended. @throws (rejects) ApiProblem. */
  async readAll(): Promise<void> {
    this.#others = await readBuilds('/indexes/builds');
    this.watch(this.#others.flatMap((build) => (build.id !== null && !hasEnded(build) ? [build.id] : [])));
    this.#tell();
  }

  watch(ids: readonly string[]): void {
    for (const id of ids) if (this.#watched.size < MOST_IDS) this.#watched.set(id, 0);
    if (this.#watched.size > 0) this.#next(0);
  }

  #next(pause: number): void {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#read(), pause);
  }

  async #read(): Promise<void> {
    if (document.hidden) return;
    let problem: string | undefined;
    try {
      for (const build of await readBuilds(`/indexes/builds?ids=${[...this.#watched.keys()].join(',')}`))
        this.#take(build);
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      problem = explainFailure(error);
    }
    this.#tell(problem);
    if (this.#watched.size > 0) this.#next(Math.min(STEP * 2 ** this.#failures, LONGEST_STEP));
  }

  #take(build: IndexBuild): void {
    const { id, state } = build;
    if (id === null) return;
    this.#seen.set(id, build);
    const absences = state === 'absent' ? (this.#watched.get(id) ?? 0) + 1 : 0;
    if (hasEnded(build) && (state !== 'absent' || absences >= MOST_ABSENT)) this.#watched.delete(id);
    else this.#watched.set(id, absences);
  }

  #tell(problem?: string): void {
    const seen = [...this.#seen.values()];
    const others = this.#others.filter((other) => !seen.some((build) => isSame(build, other)));
    this.#onSeen({ builds: [...seen, ...others], problem });
  }
}

function isSame(a: IndexBuild, b: IndexBuild): boolean {
  return (a.id !== null && a.id === b.id) || (a.index !== null && a.index === b.index);
}

/** Whether nothing more happens to a build. */
export function hasEnded({ state, cleanup }: IndexBuild): boolean {
  return state !== 'waiting' && state !== 'building' && cleanup !== 'pending';
}

async function readBuilds(path: string): Promise<readonly IndexBuild[]> {
  const { volatile } = (await readApi(path)) as { volatile: { builds: readonly IndexBuild[] } };
  return volatile.builds;
}
