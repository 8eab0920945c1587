import type { IndexAdviser } from '../adviser/adviser.js';
import type { IndexReport } from '../adviser/report.js';
import { idOf } from '../indexes/definition.js';
import type { Sessions } from '../sessions.js';
import { IndexBuilds } from './index-builds.js';
import type { BuildSettings } from './options.js';
import type { AdvisedIndex } from './preflight.js';
import type { BuildRefusal, IndexBuild } from './types.js';

/** The part of a database that builds indexes. */
export interface DatabaseBuilds {
  /** Whether indexes may be built: `indexes.apply`. */
  readonly mayBuildIndexes: boolean;
  /**
   * Begins to build advised indexes in the background, one after the other. An index that exists, or that is being built,
   * counts as begun.
   *
   * @param ids of `indexes().missing`.
   * @returns the refused ones, with their reasons.
   * @throws the error of the connection.
   */
  buildIndexes(ids: readonly string[]): Promise<readonly BuildRefusal[]>;
  /**
   * The builds of indexes, of all instances, as the server shows them; also the indexes that hotpath has built before.
   *
   * @param id of an advice. Default: all.
   * @throws the error of the connection.
   */
  indexBuilds(id?: string): Promise<readonly IndexBuild[]>;
}

/** Connects the adviser with the builds: it knows the definitions of the ids, and plans the queries again afterwards. */
export class AdvisedBuilds implements DatabaseBuilds {
  readonly #adviser: IndexAdviser;
  readonly #builds: IndexBuilds;

  constructor(adviser: IndexAdviser, sessions: Sessions, settings: BuildSettings) {
    this.#adviser = adviser;
    this.#builds = new IndexBuilds(sessions, settings, ({ queries = [] }) => adviser.measure(queries));
  }

  get mayBuildIndexes(): boolean {
    return this.#builds.isAllowed;
  }

  /** Advises, and remembers the definitions. */
  async indexes(): Promise<IndexReport> {
    const report = await this.#adviser.report();
    this.#builds.remember(this.#advisedBy(report));
    return report;
  }

  buildIndexes(ids: readonly string[]): Promise<readonly BuildRefusal[]> {
    return this.#builds.requestIds(ids, async () => this.#advisedBy(await this.#adviser.report()));
  }

  indexBuilds(id?: string): Promise<readonly IndexBuild[]> {
    return this.#builds.list(id);
  }

  close(): void {
    this.#builds.close();
  }

  #advisedBy({ missing }: IndexReport): AdvisedIndex[] {
    const queries = new Map(missing.map((index) => [index.id, index.queries.map(({ text }) => text)]));
    return this.#adviser.advised().map(({ definition, level }) => ({
      definition,
      level,
      queries: queries.get(idOf(definition)) ?? [],
    }));
  }
}
