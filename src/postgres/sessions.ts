import type { DriverClient, DriverPool } from './driver.js';

/** Rows of a statement, as `pg` returns them. */
export interface SessionResult {
  readonly rows: readonly Record<string, unknown>[];
  readonly rowCount: number | null;
}

/** A connection of hotpath's own, beside the pool of the app. */
export interface Session {
  query(text: string, values?: readonly unknown[]): Promise<SessionResult>;
  /** The process id that the server sent at the start; PgBouncer sends another. `null`: none came. */
  readonly processId: number | null;
}

/** Time-outs of a session. Milliseconds; 0: none. */
export interface SessionLimits {
  /** The server cancels longer statements. */
  readonly statementTimeout: number;
  /** The server cancels statements that wait longer for a lock. */
  readonly lockTimeout: number;
}

/** Where hotpath's own connections lead, as options of `new pg.Client()`. */
export type ClientOptions = Readonly<Record<string, unknown>>;

/** Until a connection is open. Milliseconds. */
const CONNECT_WITHIN = 2_000;

type ClientClass = new (
  options: ClientOptions,
) => DriverClient & {
  connect(): Promise<void>;
  end(): Promise<void>;
  readonly processID?: number | null;
};

/**
 * Opens connections that belong to hotpath, so that they work when the pool of the app is exhausted. They have time-outs of
 * their own, and `hotpath` as their `application_name`.
 */
export class Sessions {
  readonly #Client: ClientClass;
  readonly #options: ClientOptions;
  readonly #open = new Set<{ end(): Promise<void> }>();
  #isClosed = false;

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
    if (this.#isClosed) throw new Error('the database monitor is closed');
    const client = new this.#Client({
      ...this.#options,
      application_name: `hotpath ${purpose}`,
      connectionTimeoutMillis: CONNECT_WITHIN,
    });
    // A connection that breaks between two statements fails the next one.
    client.on('error', () => {});
    this.#open.add(client);
    try {
      await client.connect();
      // Not as options of the connection: PgBouncer refuses those.
      await client.query(
        `SET statement_timeout = ${limits.statementTimeout}; SET lock_timeout = ${limits.lockTimeout}`,
      );
      return await work({
        query: (text, values) => client.query(text, values as unknown[]),
        processId: client.processID ?? null,
      });
    } finally {
      this.#open.delete(client);
      await client.end().catch(() => {});
    }
  }

  /** Ends every connection that is open. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([...this.#open].map((client) => client.end()));
  }
}

/** Whether the session reaches the server itself: a pooler in transaction mode shows another process. */
export async function isDirect(session: Session): Promise<boolean> {
  const { rows } = await session.query('SELECT pg_backend_pid() AS pid');
  return session.processId === null || rows[0]?.pid === session.processId;
}

/** The options of a pool; `pg` hides the secret ones from copies. */
function optionsOf({ options }: DriverPool): ClientOptions {
  const { password, ssl } = options as { password?: unknown; ssl?: unknown };
  return { ...options, ...(password !== undefined && { password }), ...(ssl !== undefined && { ssl }) };
}
