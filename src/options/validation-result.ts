/** A valid value, with a doubt if it is probably a mistake, or the accepted values. */
export type ValidationResult<T> =
  | { readonly value: T; readonly doubt?: string | undefined }
  | { readonly expected: string };

/** Validates one kind of value. */
export type Validator<T> = (input: unknown) => ValidationResult<T>;
