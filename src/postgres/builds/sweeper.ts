import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { BuildError } from './build-error.js';
import type { BuildParts } from './builder.js';
import { dropLeftovers, findLeftovers } from './leftovers.js';
import { refuseServer } from './preflight.js';
import { withTurn } from './turn.js';

/** Until the first look, and the first retry; it doubles with each further one. Milliseconds. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/** Between two looks while nothing is left. Milliseconds. */
const QUIET_WAIT = 300_000;

/**
 * Drops what failed builds have left, as soon as the server permits it: those of this process, and those of processes that
 * have crashed.
 */
export class LeftoverSweeper {
  readonly #parts: BuildParts;
  #timer: NodeJS.Timeout | undefined;
  #wait = FIRST_WAIT;
  #isSweeping = false;

  constructor(parts: BuildParts) {
    this.#parts = parts;
    this.#schedule(FIRST_WAIT);
    parts.signal.addEventListener(
      'abort',
      guarded('index builds', () => clearTimeout(this.#timer)),
    );
  }

  /** Looks soon. */
  wake(): void {
    this.#wait = FIRST_WAIT;
    if (!this.#isSweeping) this.#schedule(FIRST_WAIT);
  }

  #schedule(ms: number): void {
    if (this.#parts.signal.aborted) return;
    clearTimeout(this.#timer);
    const sweep = guarded('index builds', () => void unawaited(this.#sweep(), 'index builds'));
    this.#timer = runInOwnContext(() => setTimeout(sweep, ms).unref());
  }

  async #sweep(): Promise<void> {
    this.#isSweeping = true;
    const isClean = await sweepOnce(this.#parts, this.#wait);
    this.#isSweeping = false;
    if (isClean) this.#wait = FIRST_WAIT;
    else this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
    this.#schedule(isClean ? QUIET_WAIT : this.#wait);
  }
}

/**
 * @param lockTimeout grows with the attempts, or a table that always has long readers would keep its leftover.
 * @returns whether there is nothing left to do. Never rejects.
 */
async function sweepOnce(parts: BuildParts, lockTimeout: number): Promise<boolean> {
  try {
    return await withTurn(
      parts,
      'clean-up',
      () => true,
      async (session) => {
        // Nothing can be dropped here, now or later.
        if (await refuseServer(session)) return true;
        const { left } = await dropLeftovers(session, await findLeftovers(session), lockTimeout);
        return left.every(({ isOwner }) => !isOwner);
      },
    );
  } catch (error) {
    // A build has the turn, or the server is away: the next attempt will tell.
    return error instanceof BuildError && (error.reason === 'closed' || error.reason === 'pooler');
  }
}
