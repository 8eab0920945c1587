/** What one owner has noted of an exchange. */
export interface Note {
  readonly owner: object;
  value: unknown;
  readonly next: Note | undefined;
}

/** The note of an owner. There are as many as middlewares, so few. */
export function findNote(first: Note | undefined, owner: object): Note | undefined {
  for (let at = first; at; at = at.next) if (at.owner === owner) return at;
  return undefined;
}
