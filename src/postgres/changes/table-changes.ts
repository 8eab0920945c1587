import type { Hotpath } from '../../hotpath.js';
import { HotpathError } from '../../options/errors.js';
import type { DriverPool } from '../driver.js';
import { Sessions } from '../sessions.js';
import { changeCacheOf } from './change-cache.js';
import { type ChangeFigures, ChangeFollower, type FlushResult } from './follower.js';
import { type ChangeMapping, fingerprintMapping, resolveMapping } from './mapping.js';
import { showChanges } from './metrics.js';
import { type PurgeOnChangeOptions, resolvePurgeOnChange } from './options.js';

/** The part of a database that makes the cache follow the tables. */
export interface TableChangesApi {
  /**
   * Purges responses and results of functions when rows change, whatever program has changed them. Installs triggers
   * that write to an outbox, in a schema `hotpath`; hotpath reads it every 50 ms.
   *
   * Resolves when the tables are followed, or after 10 seconds without a database; then it keeps trying.
   *
   * @throws (rejects) HotpathError `HOTPATH_CONFIG_INVALID` for invalid options, for a table or column that does not
   * exist, without `perf`, and when it is called twice.
   */
  purgeOnChange(mapping: ChangeMapping, options?: PurgeOnChangeOptions): Promise<void>;
  /**
   * Read-your-writes: resolves when the changes that were committed before the call are purged on this instance. Takes
   * 5 seconds at most, and never rejects.
   */
  flush(): Promise<FlushResult>;
  /** Figures of the reader of changes; `undefined` without `purgeOnChange`. */
  changes(): ChangeFigures | undefined;
}

/** The database and the instance whose cache follows it. */
interface FollowedDatabase {
  readonly pool: DriverPool;
  readonly sessions: Sessions;
  readonly perf: Hotpath | undefined;
}

/** Makes the cache follow the tables of a database. */
export class TableChangeReader implements TableChangesApi {
  readonly #database: FollowedDatabase;
  #isCalled = false;
  #follower: ChangeFollower | undefined;
  #hide: (() => void) | undefined;

  constructor(database: FollowedDatabase) {
    this.#database = database;
  }

  async purgeOnChange(input: ChangeMapping, options?: PurgeOnChangeOptions): Promise<void> {
    const mapping = resolveMapping(input);
    const settings = resolvePurgeOnChange(options);
    const { pool, sessions, perf } = this.#database;
    if (!perf) throw invalidCall('needs an instance: postgres(pool, { perf })');
    if (this.#isCalled) throw invalidCall('was called twice; name all tables in one call');
    this.#isCalled = true;
    const cache = changeCacheOf(perf, fingerprintMapping(mapping));
    // Without a cache there is nothing to purge.
    if (!cache) return;
    const replicas = settings.replicas.map((replica) => new Sessions(pool, replica));
    const follower = new ChangeFollower({ sessions, cache, mapping, settings, replicas });
    this.#follower = follower;
    const { registry } = perf.metrics;
    this.#hide = registry && showChanges(registry, () => follower.figures());
    await follower.start();
  }

  async flush(): Promise<FlushResult> {
    return this.#follower ? this.#follower.flush() : { acknowledged: true };
  }

  changes(): ChangeFigures | undefined {
    return this.#follower?.figures();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#hide?.();
    await this.#follower?.close();
  }
}

function invalidCall(message: string): HotpathError {
  return new HotpathError('HOTPATH_CONFIG_INVALID', `purgeOnChange ${message}`);
}
