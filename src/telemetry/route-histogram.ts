import { Histogram } from 'prom-client';

interface Written {
  readonly values: unknown[];
}

/** The part of a histogram that a registry reads. */
interface Readable {
  getForPromString(): Promise<Written>;
}

/**
 * A histogram in which some routes have buckets of their own. `prom-client` has one list of buckets for each histogram,
 * so each further list gets an unregistered one, whose series appear among those of the first.
 */
export class RouteHistogram {
  readonly #main: Histogram<string>;
  readonly #others = new Map<string, Histogram<string>>();

  constructor(main: Histogram<string>) {
    this.#main = main;
  }

  /** The child for label values. @param buckets `undefined`: those of the histogram. */
  labels(
    values: readonly string[],
    buckets: readonly number[] | undefined,
  ): { observe(value: number): void } {
    return (buckets ? this.#histogramWith(buckets) : this.#main).labels(...values);
  }

  #histogramWith(buckets: readonly number[]): Histogram<string> {
    const key = buckets.join();
    const known = this.#others.get(key);
    if (known) return known;
    const { name, help, labelNames } = this.#main as unknown as {
      name: string;
      help: string;
      labelNames: readonly string[];
    };
    const other = new Histogram({
      name,
      help,
      labelNames: [...labelNames],
      buckets: [...buckets],
      registers: [],
    });
    this.#others.set(key, other);
    append(this.#main as unknown as Readable, other as unknown as Readable);
    return other;
  }
}

function append(main: Readable, other: Readable): void {
  const read = main.getForPromString;
  Object.assign(main, {
    async getForPromString(this: Readable) {
      const written = await read.call(this);
      return { ...written, values: [...written.values, ...(await other.getForPromString()).values] };
    },
  });
}
