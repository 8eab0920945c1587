/** A value without its parameters (RFC 9651 §3.3). */
export type BareItem =
  | { readonly kind: 'string' | 'token' | 'text'; readonly value: string }
  | { readonly kind: 'integer' | 'decimal' | 'date'; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** Kept in base64, because no caller needs the bytes. */
  | { readonly kind: 'bytes'; readonly value: string };

export type Parameters = ReadonlyMap<string, BareItem>;

/** An item (RFC 9651 §3.3) or an inner list of items (§3.1.1), with its parameters (§3.1.2). */
export type StructuredItem = BareItem & { readonly parameters: Parameters };
export type InnerList = {
  readonly kind: 'list';
  readonly value: readonly StructuredItem[];
  readonly parameters: Parameters;
};
export type Member = StructuredItem | InnerList;

/**
 * Reads a structured field whose type is List (RFC 9651 §3.1, §4.2.1), strictly.
 *
 * @param text the field's value, several lines joined by commas.
 * @returns the members; `undefined` if the field breaks the grammar.
 */
export function parseList(text: string): readonly Member[] | undefined {
  const reader = new FieldParser(text);
  const members: Member[] = [];
  const ended = reader.members(() => {
    const member = reader.member();
    if (member) members.push(member);
    return member !== undefined;
  });
  return ended ? members : undefined;
}

/**
 * Reads a structured field whose type is Dictionary (RFC 9651 §3.2, §4.2.2), strictly. The last value of a duplicate
 * key wins.
 *
 * @param text the field's value, several lines joined by commas.
 * @returns the members by key; `undefined` if the field breaks the grammar.
 */
export function parseDictionary(text: string): ReadonlyMap<string, Member> | undefined {
  const reader = new FieldParser(text);
  const members = new Map<string, Member>();
  const ended = reader.members(() => {
    const key = reader.take(KEY);
    if (!key) return false;
    const member = reader.take(EQUALS) ? reader.member() : reader.flag();
    if (member) members.set(key[0], member);
    return member !== undefined;
  });
  return ended ? members : undefined;
}

// Sticky: each matches at the current position or not at all. No alternatives overlap, so all are linear.
const KEY = /[a-z*][a-z0-9_\-.*]*/y;
const EQUALS = /=/y;
const COMMA = /[ \t]*,[ \t]*/y;
const SEMICOLON = /; */y;
const OPEN = /\( */y;
const CLOSE = /\)/y;
const SPACES = / +/y;
const END = /[ \t]*$/y;
const EMPTY = /$/y;
const STRING = /"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"/y;
const TOKEN = /[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*/y;
const NUMBER = /-?(\d+)(\.\d*)?/y;
const BOOLEAN = /\?([01])/y;
const BYTES = /:([A-Za-z0-9+/]*={0,2}):/y;
const DATE = /@(-?\d{1,15})/y;
const TEXT = /%"((?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)"/y;

/** A reader at a position of a field; it returns `undefined` for text that it cannot read. */
class FieldParser {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.take(SPACES); // §4.2: spaces around the value do not belong to it
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (!found) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  /** Members between commas, to the end (§4.2.1, §4.2.2). A field may be empty, but not end with a comma. */
  members(readOne: () => boolean): boolean {
    if (this.take(EMPTY)) return true;
    do {
      if (!readOne()) return false;
      if (this.take(END)) return true;
    } while (this.take(COMMA));
    return false;
  }

  /** An item or an inner list (§4.2.1.1). */
  member(): Member | undefined {
    return this.take(OPEN) ? this.#innerList() : this.#item();
  }

  /** A key without a value is `true` (§3.2). */
  flag(): StructuredItem | undefined {
    const parameters = this.#parameters();
    return parameters && { kind: 'boolean', value: true, parameters };
  }

  /** §4.2.1.2 */
  #innerList(): InnerList | undefined {
    const value: StructuredItem[] = [];
    while (!this.take(CLOSE)) {
      const item = this.#item();
      if (!item) return undefined;
      value.push(item);
      if (this.take(SPACES)) continue;
      if (!this.take(CLOSE)) return undefined;
      break;
    }
    const parameters = this.#parameters();
    return parameters && { kind: 'list', value, parameters };
  }

  /** §4.2.3 */
  #item(): StructuredItem | undefined {
    const bare = this.#bareItem();
    const parameters = bare && this.#parameters();
    return parameters && { ...bare, parameters };
  }

  /** §4.2.3.2 */
  #parameters(): Parameters | undefined {
    const parameters = new Map<string, BareItem>();
    while (this.take(SEMICOLON)) {
      const key = this.take(KEY);
      if (!key) return undefined;
      const value = this.take(EQUALS) ? this.#bareItem() : ({ kind: 'boolean', value: true } as const);
      if (!value) return undefined;
      parameters.set(key[0], value);
    }
    return parameters;
  }

  /** §4.2.3.1: the first character decides the type. */
  #bareItem(): BareItem | undefined {
    let found = this.take(STRING);
    if (found) return { kind: 'string', value: found[1]!.replace(/\\(.)/g, '$1') };
    found = this.take(TOKEN);
    if (found) return { kind: 'token', value: found[0] };
    found = this.take(NUMBER);
    if (found) return numberOf(found);
    found = this.take(BOOLEAN);
    if (found) return { kind: 'boolean', value: found[1] === '1' };
    found = this.take(BYTES);
    if (found) return { kind: 'bytes', value: found[1]! };
    found = this.take(DATE);
    if (found) return { kind: 'date', value: Number(found[1]) };
    found = this.take(TEXT);
    return found && parseText(found[1]!);
  }
}

/** §4.2.4: at most 15 digits, or 12 before the point and 1 to 3 after it. */
function numberOf([text, whole, fraction]: RegExpExecArray): BareItem | undefined {
  if (fraction === undefined) {
    return whole!.length > 15 ? undefined : { kind: 'integer', value: Number(text) };
  }
  if (whole!.length > 12 || fraction.length < 2 || fraction.length > 4) return undefined;
  return { kind: 'decimal', value: Number(text) };
}

/** §4.2.10: the decoded text must be UTF-8. */
function parseText(encoded: string): BareItem | undefined {
  try {
    return { kind: 'text', value: decodeURIComponent(encoded) };
  } catch {
    return undefined;
  }
}
