import { copyText } from './owned-memory.js';

/** Values by text. Recently used values are kept, up to a limit. */
export class InternTable<Value> {
  readonly #most: number;
  #characters = 0;
  #now = new Map<string, Value>();
  #before = new Map<string, Value>();

  /** @param most maximum number of characters. */
  constructor(most: number) {
    this.#most = most;
  }

  get(text: string, make: (text: string) => Value): Value {
    const known = this.#now.get(text);
    if (known !== undefined) return known;
    const own = copyText(text);
    const value = this.#before.get(text) ?? make(own);
    // Longer texts would evict all others.
    if (text.length > this.#most / 16 || value === undefined) return value;
    this.#characters += text.length;
    if (this.#characters > this.#most / 2) {
      this.#before = this.#now;
      this.#now = new Map();
      this.#characters = text.length;
    }
    this.#now.set(own, value);
    return value;
  }
}
