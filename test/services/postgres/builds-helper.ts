import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { resolve, section } from '../../../src/options/schema.js';
import { IndexBuilds } from '../../../src/postgres/builds/index-builds.js';
import { buildEntries } from '../../../src/postgres/builds/options.js';
import { type AdvisedIndex, refuseIndex } from '../../../src/postgres/builds/preflight.js';
import type { BuildOptions, IndexBuild } from '../../../src/postgres/builds/types.js';
import type { AdviceLevel } from '../../../src/postgres/indexes/advice-level.js';
import { type IndexDefinition, idOf } from '../../../src/postgres/indexes/definition.js';
import { type Session, type SessionLimits, Sessions } from '../../../src/postgres/sessions.js';
import { gate } from '../../helpers/gate.js';
import { waitFor } from '../../helpers/http.js';

/** The index of a table on one column. */
export function indexOn(table: string, column: string, more: Partial<IndexDefinition> = {}): IndexDefinition {
  return { schema: 'public', table, method: 'btree', keys: [{ column }], include: [], ...more };
}

/** An instance that may build indexes. */
export interface TestBuilds {
  readonly builds: IndexBuilds;
  request(definition: IndexDefinition, level?: AdviceLevel): ReturnType<IndexBuilds['request']>;
  /** The check alone, without a look at the builds that run. */
  refuse(index: AdvisedIndex): ReturnType<typeof refuseIndex>;
  /** The state of one index. */
  state(definition: IndexDefinition): Promise<IndexBuild>;
  /** Waits for a state of one index, and returns it. */
  until(definition: IndexDefinition, condition: (build: IndexBuild) => unknown): Promise<IndexBuild>;
  close(): Promise<void>;
}

/**
 * Keeps the connection that reads states, and the plans of its statements: tests look often. A process for each look costs
 * the server most, and a plan for each costs more than the look.
 */
class PatientSessions extends Sessions {
  #kept: Promise<Session> | undefined;
  #keeping: Promise<unknown> | undefined;
  readonly #closed = gate();

  override async use<T>(purpose: string, limits: SessionLimits, work: (session: Session) => Promise<T>) {
    if (purpose !== 'status') return super.use(purpose, limits, work);
    this.#kept ??= new Promise((resolve, reject) => {
      const keep = (session: Session) => {
        resolve({ ...session, query: session.single });
        return this.#closed.opened;
      };
      this.#keeping = super.use(purpose, limits, keep).catch(reject);
    });
    return work(await this.#kept);
  }

  override async close(): Promise<void> {
    this.#closed.open();
    // It forgets its plans, which would stay in the one session of PGlite.
    await this.#keeping;
    await super.close();
  }
}

const LIMITS = { statementTimeout: 3_000, lockTimeout: 1_000 };

/** @param url of the database. */
export function openBuilds(url: string, options: BuildOptions = {}): TestBuilds {
  // The time-out of the app's queries is none of a build.
  const pool = new pg.Pool({ connectionString: url, query_timeout: 200 });
  const sessions = new PatientSessions(pool as never, undefined);
  const settings = resolve(
    section(buildEntries),
    { apply: true, lockTimeout: '300ms', ...options },
    'indexes',
  );
  const builds = new IndexBuilds(sessions, settings);
  const state = async (definition: IndexDefinition) => (await builds.list(idOf(definition)))[0]!;
  return {
    builds,
    request: (definition, level = 'verified') => builds.request([{ definition, level }]),
    refuse: (index) => sessions.use('preflight', LIMITS, (session) => refuseIndex(session, index, settings)),
    state,
    async until(definition, condition) {
      let build = await state(definition);
      await waitFor(async () => condition((build = await state(definition)))).catch((error: unknown) => {
        throw new Error(`${error}\n${JSON.stringify(build)}`);
      });
      return build;
    },
    async close() {
      builds.close();
      await sessions.close();
      if (!pool.ended) await pool.end();
    },
  };
}

/** Writes to a table all the time, one row after the other. */
export interface Writer {
  /** The longest time that a write has taken. Milliseconds. */
  stop(): Promise<number>;
}

export async function startWriter(url: string, sql: string): Promise<Writer> {
  const client = new pg.Client(url);
  await client.connect();
  let isStopped = false;
  let longest = 0;
  const writing = (async () => {
    while (!isStopped) {
      const begun = performance.now();
      await client.query(sql);
      longest = Math.max(longest, performance.now() - begun);
      await new Promise((done) => setTimeout(done, 10));
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await writing;
      await client.end();
      return longest;
    },
  };
}
