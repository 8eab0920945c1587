/** A position in the shared log, as an entry in Redis carries it. */
export interface LogStamp {
  readonly epoch: string;
  readonly position: number;
}

/** Records from `from` on have local positions that are `offset` higher. */
interface Segment {
  readonly from: number;
  offset: number;
}

/** Segments kept; an entry in Redis stamped before the oldest is not used. */
const MAX_SEGMENTS = 1000;

/**
 * Local positions, which entries in memory are stamped with, and those of the shared log.
 *
 * The shared log may begin anew, lower than it was, and a purge that can't be written has no position there. Local
 * positions only grow: whatever is recorded later, anywhere, is higher than every stamp taken here before. Within
 * one epoch they keep the order of the shared ones, whatever order the records come in.
 */
export class LogPositions {
  #epoch: string | undefined;
  #segments: Segment[] = [];
  /** Shared position up to which every record was applied. */
  #applied = 0;
  /** Highest shared position that is known: the later of that and the last of our own that was acknowledged. */
  #known = 0;
  #high = 0;

  /** `undefined` until the log was read for the first time. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  get applied(): number {
    return this.#applied;
  }

  /** Highest shared position of which anything is known: of a record that was applied, or of our own. */
  get known(): number {
    return this.#known;
  }

  /** The stamp of what is computed from now on. */
  get stamp(): number {
    return this.#high;
  }

  /** The local position up to which nothing is missing. */
  get settled(): number {
    return this.#applied === this.#known ? this.#high : this.#localOf(this.#applied);
  }

  /** Follows an epoch from a position of its own. @returns the floor: every stamp taken before is lower. */
  adopt(epoch: string, position: number): number {
    this.#epoch = epoch;
    this.#segments = [{ from: position, offset: this.#high + 1 - position }];
    this.#applied = this.#known = position;
    return ++this.#high;
  }

  /** The next records, up to the position, were applied, or are lost. @returns its local position. */
  advance(position: number): number {
    this.#applied = position;
    return this.acknowledge(position);
  }

  /** A record of our own has this position; others before it may still come. @returns its local position. */
  acknowledge(position: number): number {
    const local = this.#localOf(position);
    if (position > this.#known) {
      this.#known = position;
      this.#high = local;
    }
    return local;
  }

  /** @returns a local position for what the shared log doesn't know yet: after all that is known. */
  addHere(): number {
    const last = this.#segments.at(-1);
    if (last && last.from === this.#known + 1) last.offset++;
    else if (last) this.#segments.push({ from: this.#known + 1, offset: last.offset + 1 });
    if (this.#segments.length > MAX_SEGMENTS) this.#segments.splice(0, MAX_SEGMENTS / 2);
    return ++this.#high;
  }

  /** The last shared position that is not after the stamp; `undefined` for a stamp of another epoch. */
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

  /** The stamp that an entry with this position has here; `undefined` when nothing is known of its time. */
  fromShared({ epoch, position }: LogStamp): number | undefined {
    const [first] = this.#segments;
    if (epoch !== this.#epoch || !first || !Number.isSafeInteger(position) || position < first.from)
      return undefined;
    // Made elsewhere with knowledge that is still on its way here: records up to it will be taken for later ones.
    return this.#localOf(Math.min(position, this.#known));
  }

  #localOf(position: number): number {
    let i = this.#segments.length - 1;
    while (i > 0 && this.#segments[i]!.from > position) i--;
    return position + (this.#segments[i]?.offset ?? 0);
  }
}
