/** A valid value, or the accepted values. */
export type Reading<T> = { readonly value: T } | { readonly expected: string };

/** Validates one kind of value. */
export type Reader<T> = (input: unknown) => Reading<T>;
