/** A valid value, or the accepted values. */
export type ValidationResult<T> = { readonly value: T } | { readonly expected: string };

/** Validates one kind of value. */
export type Validator<T> = (input: unknown) => ValidationResult<T>;
