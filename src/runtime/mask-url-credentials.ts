/**
 * Hides credentials in the URLs of a text: clients of databases put their URLs into their messages.
 *
 * @param text bounded, because the time grows with the square of its length.
 */
export function maskUrlCredentials(text: string): string {
  // Up to the last `@` of the word, because an unencoded password may contain `/`, `#` and `@`.
  return text.replaceAll(/((?:[a-z][a-z0-9+.-]{0,20}:)?\/\/)\S*@/gi, '$1***@');
}
