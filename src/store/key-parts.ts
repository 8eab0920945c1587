/**
 * Joins parts so that different lists of parts never give the same text. Each part is preceded by its length.
 * An absent part differs from an empty one.
 */
export function joinParts(parts: readonly (string | undefined)[]): string {
  let key = '';
  for (const part of parts) key += joinPart(part);
  return key;
}

export function joinPart(part: string | undefined): string {
  return part === undefined ? '-:' : `${part.length}:${part}`;
}

/** A part of a key, and where the next one begins. */
export interface KeyPart {
  /** `undefined` if the part is absent. */
  readonly part: string | undefined;
  readonly end: number;
}

/** The part that begins at an index; `undefined` if none does. */
export function readPart(key: string, at: number): KeyPart | undefined {
  const colon = key.indexOf(':', at);
  if (colon < 0) return undefined;
  const length = key.slice(at, colon);
  const isAbsent = length === '-';
  if (!isAbsent && !/^\d{1,9}$/.test(length)) return undefined;
  const end = colon + 1 + (isAbsent ? 0 : Number(length));
  if (end > key.length) return undefined;
  return { part: isAbsent ? undefined : key.slice(colon + 1, end), end };
}

/**
 * One of the parts at the start of a text; `undefined` if the part is absent or the text has another form.
 */
export function partAt(key: string, index: number): string | undefined {
  let at = 0;
  for (let i = 0; ; i++) {
    const read = readPart(key, at);
    if (!read || i === index) return read?.part;
    at = read.end;
  }
}
