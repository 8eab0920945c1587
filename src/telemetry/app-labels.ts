import { reportFault } from '../runtime/report-fault.js';

type Value<Request> = string | ((request: Request) => string);

/** Most different values of a computed label; further ones are `other`. */
const MOST_VALUES = 100;
const LONGEST_VALUE = 100;
const OTHER_VALUE = 'other';

/** The labels that an app adds to the metrics of requests: fixed ones, and ones computed for each request. */
export class AppLabels<Request> {
  readonly isDynamic: boolean;
  /** The values of a request that is counted under `overflow`. */
  readonly overflow: readonly string[];
  readonly #names: readonly string[];
  readonly #values: readonly Value<Request>[];
  readonly #known: readonly Set<string>[];

  constructor(labels: Readonly<Record<string, Value<Request>>>) {
    this.#names = Object.keys(labels);
    this.#values = Object.values(labels);
    this.#known = this.#values.map(() => new Set());
    this.isDynamic = this.#values.some((value) => typeof value === 'function');
    this.overflow = this.#values.map((value) => (typeof value === 'string' ? value : 'overflow'));
  }

  /** The values for a request, in the order of the labels. An exception is reported, and its value is empty. */
  valuesOf(request: Request): readonly string[] {
    if (!this.isDynamic) return this.overflow;
    return this.#values.map((value, at) =>
      typeof value === 'string' ? value : this.#bounded(at, this.#compute(at, value, request)),
    );
  }

  #compute(at: number, value: (request: Request) => string, request: Request): string {
    try {
      const result: unknown = value(request);
      return typeof result === 'string' ? result.slice(0, LONGEST_VALUE) : '';
    } catch (error) {
      reportFault(`metrics.labels.${this.#names[at]}`, error);
      return '';
    }
  }

  #bounded(at: number, value: string): string {
    const known = this.#known[at]!;
    if (known.has(value)) return value;
    if (known.size >= MOST_VALUES) return OTHER_VALUE;
    known.add(value);
    return value;
  }
}
