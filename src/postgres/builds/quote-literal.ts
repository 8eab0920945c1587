/** A text as a literal, for statements that take no parameters. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  // With `E`, backslashes have one meaning whatever `standard_conforming_strings` is.
  return text.includes('\\') ? `E${quoted}` : quoted;
}
