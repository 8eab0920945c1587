import { copyText } from '../../runtime/owned-memory.js';

/** A URL that was served from the cache, with the number of times. */
export interface TopKey {
  /** Path, and `?…` where there was a query; the whole query with `telemetry.queries`. */
  readonly url: string;
  readonly hits: number;
}

/** URLs that are counted at a time; when they are twice as many, the less wanted half goes. */
const KEPT = 100;

/** Longer ones are cut. Characters. */
const LONGEST_URL = 300;

/**
 * The URLs that were served most often, within bounds (lossy counting). A URL that was dropped begins again at zero, so
 * counts of the top are exact or a little too low, never too high.
 */
export class TopKeys {
  readonly #showsQueries: boolean;
  #counts = new Map<string, { hits: number }>();

  /** @param showsQueries whether URLs are counted with their query, which may hold secrets. */
  constructor(showsQueries: boolean) {
    this.#showsQueries = showsQueries;
  }

  /** @param url path and query. */
  record(url: string): void {
    const key = url.length > LONGEST_URL ? copyText(`${url.slice(0, LONGEST_URL)}…`) : url;
    const known = this.#counts.get(key);
    if (known) known.hits++;
    else this.#add(key);
  }

  /** The most wanted first. */
  list(most: number): TopKey[] {
    const sums = new Map<string, number>();
    for (const [url, { hits }] of this.#counts) {
      const shown = this.#shown(url);
      sums.set(shown, (sums.get(shown) ?? 0) + hits);
    }
    return [...sums]
      .map(([url, hits]) => ({ url, hits }))
      .sort((a, b) => b.hits - a.hits)
      .slice(0, most);
  }

  /** The same, with the queries of all URLs; longer ones are cut. For use within the process alone. */
  exact(most: number): TopKey[] {
    const all = Array.from(this.#counts, ([url, { hits }]) => ({ url, hits }));
    return all.sort((a, b) => b.hits - a.hits).slice(0, most);
  }

  get size(): number {
    return this.#counts.size;
  }

  #add(url: string): void {
    if (this.#counts.size >= 2 * KEPT) this.#shrink();
    this.#counts.set(url, { hits: 1 });
  }

  #shrink(): void {
    const kept = [...this.#counts].sort(([, a], [, b]) => b.hits - a.hits).slice(0, KEPT);
    this.#counts = new Map(kept);
  }

  #shown(url: string): string {
    const at = url.indexOf('?');
    return at < 0 || this.#showsQueries ? url : `${url.slice(0, at)}?…`;
  }
}
