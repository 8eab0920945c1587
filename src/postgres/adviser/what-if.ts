import { ddlOf, type IndexDefinition, idOf, indexNameOf, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { type BufferMeter, type MeasuredBuffers, unmeasured } from './buffers/buffer-meter.js';
import type { Catalogue } from './catalogue.js';
import { explainQuery, noPlan, type PlannableQuery, readOnly } from './explain.js';
import { IndexRows } from './index-rows.js';
import { costOfSizes, estimateSize, PAGE_BYTES, type SizedIndex } from './index-size.js';
import type { PlanStep } from './plan.js';

/** Plans queries as if indexes existed. */
export interface WhatIf {
  readonly level: 'verified' | 'trial' | 'estimated';
  /**
   * Plans a query with indexes that do not exist.
   *
   * @returns `undefined` if the query has no plan, or an index cannot be built.
   */
  plan(query: PlannableQuery, indexes: readonly IndexDefinition[]): Promise<PlannedWith | undefined>;
  /** Of an index that was planned with. Bytes. */
  bytesOf(definition: IndexDefinition): number | null;
  /** Runs a query with indexes that are really built. Default: they are not. */
  measure?(
    query: PlannableQuery,
    indexes: readonly IndexDefinition[],
    meter: BufferMeter,
  ): Promise<MeasuredBuffers>;
  close(): Promise<void>;
}

/** A plan, with the names that its indexes have in it. */
export interface PlannedWith {
  readonly root: PlanStep;
  /** The id of an index by its name in the plan. */
  readonly names: ReadonlyMap<string, string>;
  /** Indexes that are known to give the wanted order; of estimates, whose plan keeps its sorts. */
  readonly ordered?: ReadonlySet<string>;
}

/** A hypothetical index. */
interface Hypothetical {
  readonly oid: number;
  readonly name: string;
}

/** Hypothetical indexes of HypoPG, which other sessions do not see and which cost nothing. */
export class HypotheticalIndexes implements WhatIf {
  readonly level = 'verified';
  readonly #session: Session;
  readonly #schema: string;
  readonly #open = new Map<string, Hypothetical>();
  readonly #catalogue: Catalogue;
  readonly #sizes = new Map<string, SizedIndex>();
  readonly #indexRows: IndexRows;
  /** Indexes that HypoPG refuses, such as those on expressions that are not immutable. */
  readonly #refused = new Set<string>();

  /** @param schema of the extension. */
  constructor(session: Session, schema: string, catalogue: Catalogue) {
    this.#session = session;
    this.#schema = quoteIdentifier(schema);
    this.#catalogue = catalogue;
    this.#indexRows = new IndexRows((query) =>
      readOnly(session, () => explainQuery(session, query)).catch(noPlan),
    );
  }

  async plan(query: PlannableQuery, indexes: readonly IndexDefinition[]): Promise<PlannedWith | undefined> {
    const wanted = new Map(indexes.map((definition) => [idOf(definition), definition]));
    for (const [id, { oid }] of this.#open) {
      if (wanted.has(id)) continue;
      await this.#session.query(`SELECT ${this.#schema}.hypopg_drop_index($1)`, [oid]);
      this.#open.delete(id);
    }
    for (const [id, definition] of wanted) if (!(await this.#create(id, definition))) return undefined;
    const root = await readOnly(this.#session, () => explainQuery(this.#session, query)).catch(noPlan);
    const names = new Map([...this.#open].map(([id, { name }]) => [name, id]));
    if (!root) return undefined;
    const counted = await this.#indexRows.read(root, names, indexes);
    const sizeOfName = (name: string) => this.#sizes.get(names.get(name) ?? '');
    const cost = Math.max(root['Total Cost'] + costOfSizes(counted, sizeOfName), 0);
    return { root: { ...counted, 'Total Cost': cost }, names };
  }

  bytesOf(definition: IndexDefinition): number | null {
    const size = this.#sizes.get(idOf(definition));
    return size ? size.pages * PAGE_BYTES : null;
  }

  /** Hypothetical indexes survive the end of a transaction. */
  async close(): Promise<void> {
    this.#open.clear();
    // The right to run it may be missing; then there are none.
    await this.#session.query(`SELECT ${this.#schema}.hypopg_reset()`).catch(noPlan);
  }

  async #create(id: string, definition: IndexDefinition): Promise<boolean> {
    if (this.#open.has(id)) return true;
    if (this.#refused.has(id)) return false;
    const create = `SELECT indexrelid::int8 AS oid, indexname AS name FROM ${this.#schema}.hypopg_create_index($1)`;
    try {
      const { rows } = await readOnly(this.#session, () => this.#session.query(create, [ddlOf(definition)]));
      const [{ oid, name } = { oid: 0, name: '' }] = rows as { oid: unknown; name: unknown }[];
      this.#open.set(id, { oid: Number(oid), name: String(name) });
      if (this.#sizes.has(id)) return true;
      const size = await this.#session.query(`SELECT ${this.#schema}.hypopg_relation_size($1) AS bytes`, [
        oid,
      ]);
      this.#sizes.set(id, estimateSize(definition, this.#catalogue, Number(size.rows[0]?.bytes)));
      return true;
    } catch (error) {
      noPlan(error);
      this.#refused.add(id);
      return false;
    }
  }
}

/** Real indexes in a transaction that is always rolled back. A build blocks writers of its table until then. */
export class TrialIndexes implements WhatIf {
  readonly level = 'trial';
  readonly #session: Session;
  readonly #bytes = new Map<string, number>();
  readonly #refused = new Set<string>();
  /** The ids of the indexes in the open transaction; `undefined`: none is open. */
  #open: string | undefined;
  #names = new Map<string, string>();
  readonly #indexRows = new IndexRows((query) => this.#guarded(() => explainQuery(this.#session, query)));

  constructor(session: Session) {
    this.#session = session;
  }

  async plan(query: PlannableQuery, indexes: readonly IndexDefinition[]): Promise<PlannedWith | undefined> {
    if (!(await this.#build(indexes))) return undefined;
    const root = await this.#guarded(() => explainQuery(this.#session, query));
    return root && { root: await this.#indexRows.read(root, this.#names, indexes), names: this.#names };
  }

  async measure(
    query: PlannableQuery,
    indexes: readonly IndexDefinition[],
    meter: BufferMeter,
  ): Promise<MeasuredBuffers> {
    if (!(await this.#build(indexes))) return unmeasured('failed');
    const root = await this.#guarded(() => explainQuery(this.#session, query));
    if (!root) return unmeasured('failed');
    return meter.measureIn(query, root, (run) => this.#guarded(run));
  }

  bytesOf(definition: IndexDefinition): number | null {
    return this.#bytes.get(idOf(definition)) ?? null;
  }

  async close(): Promise<void> {
    if (this.#open === undefined) return;
    this.#open = undefined;
    await this.#session.query('ROLLBACK');
  }

  async #build(indexes: readonly IndexDefinition[]): Promise<boolean> {
    const byId = new Map(indexes.map((definition) => [idOf(definition), definition]));
    if ([...byId.keys()].some((id) => this.#refused.has(id))) return false;
    const key = [...byId.keys()].sort().join();
    if (this.#open === key) return true;
    await this.close();
    await this.#session.query('BEGIN');
    this.#open = '';
    this.#names = new Map();
    for (const [id, definition] of byId) {
      const ddl = ddlOf(definition);
      const built = await this.#guarded(async () => {
        await this.#session.query(ddl);
        const { rows } = await this.#session.query(BYTES, [definition.schema, indexNameOf(definition)]);
        return Number(rows[0]?.bytes);
      });
      if (built === undefined) {
        this.#refused.add(id);
        await this.close();
        return false;
      }
      this.#bytes.set(id, built);
      this.#names.set(indexNameOf(definition), id);
    }
    await this.#session.query('SET LOCAL transaction_read_only = on');
    this.#open = key;
    return true;
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T | undefined> {
    await this.#session.query('SAVEPOINT hotpath_trial');
    try {
      const result = await work();
      await this.#session.query('RELEASE SAVEPOINT hotpath_trial');
      return result;
    } catch (error) {
      noPlan(error);
      await this.#session.query('ROLLBACK TO SAVEPOINT hotpath_trial; RELEASE SAVEPOINT hotpath_trial');
      return undefined;
    }
  }
}

const BYTES = `
SELECT pg_relation_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`;
