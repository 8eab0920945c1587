/** A length of time: seconds as a number, or `'30s'`, `'5m'`, `'1h'`, `'1d'` (decimals allowed: `'1.5h'`). */
export type Duration = number | `${number}s` | `${number}m` | `${number}h` | `${number}d`;

/** A number of bytes, or `'512b'`, `'1kb'`, `'10mb'`, `'1gb'` (units of 1024; decimals allowed: `'1.5mb'`). */
export type Size = number | `${number}b` | `${number}kb` | `${number}mb` | `${number}gb`;

export function parseDuration(value: unknown): number {
  throw new Error(`not built yet ${value}`);
}
export function parseSize(value: unknown): number {
  throw new Error(`not built yet ${value}`);
}
