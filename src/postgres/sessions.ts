import { randomBytes } from 'node:crypto';
import { guarded } from '../runtime/guard.js';
import type { DriverClient, DriverPool } from './driver.js';

/** Rows of a statement, as `pg` returns them. */
export interface SessionResult {
  readonly rows: readonly Record<string, unknown>[];
  readonly rowCount: number | null;
}

/** A connection of hotpath's own, beside the pool of the app. */
export interface Session {
  /** @param values with a list, even an empty one, the text must be one statement. */
  query(text: string, values?: readonly unknown[]): Promise<SessionResult>;
  /** Runs one statement of the app, or fails: a text of several is an error of syntax. */
  single(text: string, values?: readonly unknown[]): Promise<SessionResult>;
  /** The process id that the server sent at the start; PgBouncer sends another. `null`: none came. */
  readonly processId: number | null;
  /** Whether the connection keeps the process alive. Default: it does. */
  hold(isHeld: boolean): void;
}

/** Time-outs of a session. Milliseconds; 0: none. */
export interface SessionLimits {
  /** The server cancels longer statements. */
  readonly statementTimeout: number;
  /** The server cancels statements that wait longer for a lock. */
  readonly lockTimeout: number;
  /** Statements fail without a reply after this time, as from a server that hangs. Default: none do. */
  readonly replyTimeout?: number;
}

/** Where hotpath's own connections lead, as options of `new pg.Client()`. */
export type ClientOptions = Readonly<Record<string, unknown>>;

/** Until a connection is open. Milliseconds. */
const CONNECT_WITHIN = 2_000;

/** Until a connection is closed; a server that hangs never closes it. Milliseconds. */
const END_WITHIN = 500;

/** In each statement of hotpath: `pg_stat_statements` keeps it, if it is not at the start (PostgreSQL 18). */
export const OWN_MARK = '/* hotpath */';

interface OwnClient extends DriverClient {
  connect(): Promise<void>;
  end(): Promise<void>;
  ref?(): void;
  unref?(): void;
  readonly processID?: number | null;
  readonly connection?: { readonly stream?: { destroy(): void } };
}

type ClientClass = new (options: ClientOptions) => OwnClient;

/**
 * Opens connections that belong to hotpath, so that they work when the pool of the app is exhausted. They have time-outs of
 * their own, and `hotpath` as their `application_name`.
 */
export class Sessions {
  readonly #Client: ClientClass;
  readonly #options: ClientOptions;
  readonly #open = new Set<OwnClient>();
  isClosed = false;

  /** @param connection in place of the options of the pool, such as a direct address beside PgBouncer. */
  constructor(pool: DriverPool, connection: ClientOptions | undefined) {
    this.#Client = (pool as DriverPool & { Client: ClientClass }).Client;
    this.#options = connection ?? optionsOf(pool);
  }

  /**
   * Runs work on a connection of its own, which is closed afterwards.
   *
   * @param purpose follows `hotpath` in `application_name`.
   * @throws the error of the connection or of the work.
   */
  async use<T>(purpose: string, limits: SessionLimits, work: (session: Session) => Promise<T>): Promise<T> {
    if (this.isClosed) throw new Error('the database monitor is closed');
    const { statementTimeout, lockTimeout, replyTimeout } = limits;
    const client = new this.#Client({
      ...this.#options,
      application_name: `hotpath ${purpose}`,
      connectionTimeoutMillis: CONNECT_WITHIN,
      // A build sends nothing for hours. Without probes, nobody would notice that the server has lost its power.
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      // That of the pool would end a build.
      query_timeout: replyTimeout ?? 0,
    });
    // A connection that breaks between two statements fails the next one.
    client.on('error', ignoreLost);
    this.#open.add(client);
    const query = (text: string, values?: readonly unknown[]) =>
      client.query({ text: markOwn(text), values, ...(values && { queryMode: 'extended' }) });
    try {
      await client.connect();
      const processId = client.processID ?? null;
      // Not as options of the connection, which PgBouncer refuses. Through PgBouncer they are not set at all: it would
      // hand the connection, with these time-outs, to the app.
      if (processId !== null) {
        await query(
          `SELECT set_config('statement_timeout', '${statementTimeout}', false),
             set_config('lock_timeout', '${lockTimeout}', false),
             set_config('application_name', $1, false)
           WHERE pg_backend_pid() = $2`,
          [`hotpath ${purpose}`, processId],
        );
      }
      const hold = (isHeld: boolean) => (isHeld ? client.ref?.() : client.unref?.());
      const prepared = new PreparedNames();
      const single = (text: string, values?: readonly unknown[]) =>
        // A query with a name is never sent by the protocol that runs several statements.
        client.query({ name: prepared.nameOf(text), text: `${OWN_MARK} ${text}`, values });
      const result = await work({ query, single, processId, hold });
      await prepared.forget(query);
      return result;
    } finally {
      this.#open.delete(client);
      await endClient(client);
    }
  }

  /** Ends every connection that is open. Idempotent. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.allSettled([...this.#open].map(endClient));
  }
}

/** Names of prepared statements. On PGlite, where all connections share one session, none must come twice or stay. */
class PreparedNames {
  readonly #prefix = `hotpath_${randomBytes(6).toString('hex')}`;
  readonly #names = new Map<string, string>();

  /** The same for the same text. */
  nameOf(text: string): string {
    const name = this.#names.get(text) ?? `${this.#prefix}_${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }

  /** Never rejects. */
  async forget(query: Session['query']): Promise<void> {
    if (this.#names.size === 0) return;
    try {
      const { rows } = await query('SELECT name FROM pg_prepared_statements WHERE starts_with(name, $1)', [
        `${this.#prefix}_`,
      ]);
      for (const { name } of rows) await query(`DEALLOCATE ${name}`);
    } catch {
      // The session has ended, and they with it.
    }
  }
}

/** The connection goes through a pooler in transaction mode, which would hand what the session has set to the app. */
export class PoolerError extends Error {
  constructor() {
    super('the connection goes through a pooler; set `connection` of postgres() to the server itself');
  }
}

/** Whether the session reaches the server itself: a pooler in transaction mode shows another process. */
export async function isDirect(session: Session): Promise<boolean> {
  const { rows } = await session.query('SELECT pg_backend_pid() AS pid');
  return session.processId === null || rows[0]?.pid === session.processId;
}

/** After the first word. */
function markOwn(text: string): string {
  return text.replace(/^\s*[A-Za-z]+/, (word) => `${word} ${OWN_MARK}`);
}

const ignoreLost = guarded('connection of the database monitor', () => {});

/** Never rejects. */
async function endClient(client: OwnClient): Promise<void> {
  const destroy = guarded('connection of the database monitor', () => client.connection?.stream?.destroy());
  const timer = setTimeout(destroy, END_WITHIN).unref();
  await client.end().catch(() => {});
  clearTimeout(timer);
}

/** The options of a pool; `pg` hides the secret ones from copies. */
function optionsOf({ options }: DriverPool): ClientOptions {
  const { password, ssl } = options as { password?: unknown; ssl?: unknown };
  return { ...options, ...(password !== undefined && { password }), ...(ssl !== undefined && { ssl }) };
}
