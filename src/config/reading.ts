/** A value that was understood, or what would have been. */
export type Reading<T> = { readonly value: T } | { readonly expected: string };

/** Understands one kind of value. */
export type Reader<T> = (input: unknown) => Reading<T>;
