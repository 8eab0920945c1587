import type { ChildProcess } from 'node:child_process';
import type { QueryResultRow } from 'pg';
import type { Database } from '../database.js';
import { countQuery } from '../query-count.js';

interface Query {
  id: number;
  text: string;
  values: readonly unknown[];
}

type Reply = { id: number; rows: QueryResultRow[] } | { id: number; failed: string };

/** The database of an instance. The parent owns the single connection of the embedded PostgreSQL. */
export function parentDatabase(): Database {
  const waiting = new Map<number, { resolve(rows: QueryResultRow[]): void; reject(error: Error): void }>();
  let last = 0;
  process.on('message', (reply: Reply) => {
    const query = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('rows' in reply) query?.resolve(reply.rows);
    else query?.reject(new Error(reply.failed));
  });
  return {
    query<Row extends QueryResultRow>(text: string, values: readonly unknown[] = []) {
      countQuery();
      return new Promise<Row[]>((resolve, reject) => {
        const id = ++last;
        waiting.set(id, { resolve: resolve as (rows: QueryResultRow[]) => void, reject });
        process.send?.({ id, text, values } satisfies Query, undefined, undefined, (error) => {
          if (error && waiting.delete(id)) reject(error);
        });
      });
    },
  };
}

/** The parent's side: runs the queries of an instance. */
export function answerQueries(child: ChildProcess, db: Database): void {
  const reply = (message: Reply) => {
    // The child may have ended in the meantime.
    if (child.connected) child.send(message, () => {});
  };
  child.on('message', (message: Partial<Query>) => {
    const { id, text, values } = message;
    if (id === undefined || text === undefined) return;
    db.query(text, values).then(
      (rows) => reply({ id, rows }),
      (error: unknown) => reply({ id, failed: String(error) }),
    );
  });
}
