/** Figures by name over time, in columns: `figures[name][i]` was measured at `at[i]`. */
export interface FigureColumns<Name extends string> {
  /** Milliseconds since 1970, ascending. */
  readonly at: readonly number[];
  /** `null`: there was nothing to measure. */
  readonly figures: Readonly<Record<Name, readonly (number | null)[]>>;
}

/** The last so many rows of named figures, in memory of a fixed size. */
export class FigureRing<Name extends string> {
  readonly #names: readonly Name[];
  readonly #rows: Float64Array;
  readonly #capacity: number;
  #pushed = 0;

  /** @param capacity rows; the oldest go. */
  constructor(names: readonly Name[], capacity: number) {
    this.#names = names;
    this.#capacity = capacity;
    this.#rows = new Float64Array(capacity * (names.length + 1));
  }

  /** @param at milliseconds since 1970. */
  push(at: number, figures: Readonly<Record<Name, number | null>>): void {
    const width = this.#names.length + 1;
    const from = (this.#pushed++ % this.#capacity) * width;
    this.#rows[from] = at;
    this.#names.forEach((name, index) => {
      this.#rows[from + 1 + index] = figures[name] ?? Number.NaN;
    });
  }

  columns(): FigureColumns<Name> {
    const width = this.#names.length + 1;
    const count = Math.min(this.#pushed, this.#capacity);
    const starts = Array.from(
      { length: count },
      (_, row) => ((this.#pushed - count + row) % this.#capacity) * width,
    );
    const column = (index: number) =>
      starts.map((start) => {
        const value = this.#rows[start + index]!;
        return Number.isNaN(value) ? null : value;
      });
    const figures = Object.fromEntries(this.#names.map((name, index) => [name, column(index + 1)]));
    return { at: column(0) as number[], figures: figures as Record<Name, (number | null)[]> };
  }

  /** Memory of the rows. */
  get bytes(): number {
    return this.#rows.byteLength;
  }
}
