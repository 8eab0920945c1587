/** A position in the log in Redis, as stored with an entry in Redis. */
export interface LogStamp {
  readonly epoch: string;
  readonly position: number;
}

/** From position `from` on, local positions are higher by `offset`. */
interface Segment {
  readonly from: number;
  offset: number;
}

/** Maximum number of segments. Entries in Redis with an older stamp are not used. */
const MAX_SEGMENTS = 1000;

/**
 * Converts between the positions of the log in Redis and local positions, which entries in memory are stamped
 * with.
 *
 * The log in Redis may start again at a lower position, and a purge that cannot be written has no position
 * there. Local positions only grow: any later record, of any instance, is higher than every earlier local
 * stamp. Within one epoch they have the order of the Redis positions, in whatever order the records arrive.
 */
export class LogPositions {
  #epoch: string | undefined;
  #segments: Segment[] = [];
  /** Position in Redis up to which all records were applied. */
  #applied = 0;
  /**
   * Highest known position in Redis: the last applied record, or the last acknowledged record of this
   * instance.
   */
  #known = 0;
  #high = 0;

  /** `undefined` before the first read of the log. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  get applied(): number {
    return this.#applied;
  }

  /** Highest position in Redis that is known from an applied or an acknowledged record. */
  get known(): number {
    return this.#known;
  }

  /** The stamp for computations that begin now. */
  get stamp(): number {
    return this.#high;
  }

  /** The local position up to which no record is missing. */
  get settled(): number {
    return this.#applied === this.#known ? this.#high : this.#localOf(this.#applied);
  }

  /** Follows an epoch from the given position. @returns the floor, above all earlier stamps. */
  adopt(epoch: string, position: number): number {
    this.#epoch = epoch;
    this.#segments = [{ from: position, offset: this.#high + 1 - position }];
    this.#applied = this.#known = position;
    return ++this.#high;
  }

  /** Marks the records up to the position as applied or lost. @returns the local position. */
  advance(position: number): number {
    this.#applied = position;
    return this.acknowledge(position);
  }

  /**
   * Registers the position of a record of this instance; earlier records may still arrive. @returns the local
   * position.
   */
  acknowledge(position: number): number {
    const local = this.#localOf(position);
    if (position > this.#known) {
      this.#known = position;
      this.#high = local;
    }
    return local;
  }

  /** @returns a local position, after all known records, for a record that is not in Redis yet. */
  addHere(): number {
    const last = this.#segments.at(-1);
    if (last && last.from === this.#known + 1) last.offset++;
    else if (last) this.#segments.push({ from: this.#known + 1, offset: last.offset + 1 });
    if (this.#segments.length > MAX_SEGMENTS) this.#segments.splice(0, MAX_SEGMENTS / 2);
    return ++this.#high;
  }

  /** The last position in Redis that is not after the stamp; `undefined` for a stamp of another epoch. */
  toShared(stamp: number): LogStamp | undefined {
    if (this.#epoch === undefined) return undefined;
    let before = this.#known + 1;
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { from, offset } = this.#segments[i]!;
      if (from + offset <= stamp)
        return { epoch: this.#epoch, position: Math.min(stamp - offset, before - 1) };
      before = from;
    }
    return undefined;
  }

  /** The local stamp of an entry with this position; `undefined` if nothing is known about that time. */
  fromShared({ epoch, position }: LogStamp): number | undefined {
    const [first] = this.#segments;
    if (epoch !== this.#epoch || !first || !Number.isSafeInteger(position) || position < first.from)
      return undefined;
    // The other instance knew records that have not arrived here. They will count as later than the entry.
    return this.#localOf(Math.min(position, this.#known));
  }

  #localOf(position: number): number {
    let i = this.#segments.length - 1;
    while (i > 0 && this.#segments[i]!.from > position) i--;
    return position + (this.#segments[i]?.offset ?? 0);
  }
}
