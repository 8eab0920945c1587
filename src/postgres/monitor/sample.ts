/** Values of a query, copied. */
export type BoundValues = readonly unknown[];

/** Of a text and its values together. Larger ones are not kept. Bytes, roughly. */
const MOST_BYTES = 8192;

/**
 * Copies the values of a query, so that the app's objects are not kept alive.
 *
 * @returns `undefined` if they are too large, or of a kind that may change.
 */
export function copyValues(text: string, values: unknown): BoundValues | undefined {
  if (values !== undefined && values !== null && !Array.isArray(values)) return undefined;
  const copied: unknown[] = [];
  let bytes = text.length;
  for (const value of (values ?? []) as unknown[]) {
    const copy = copyValue(value);
    if (!copy) return undefined;
    bytes += copy.bytes;
    if (bytes > MOST_BYTES) return undefined;
    copied.push(copy.value);
  }
  return copied;
}

function copyValue(value: unknown): { readonly value: unknown; readonly bytes: number } | undefined {
  if (typeof value === 'string') return { value, bytes: value.length };
  if (value === null || ['number', 'boolean', 'bigint', 'undefined'].includes(typeof value))
    return { value, bytes: 8 };
  if (value instanceof Date) return { value: new Date(value), bytes: 8 };
  if (Array.isArray(value) && value.length <= MOST_BYTES) {
    const copied = copyValues('', value);
    return copied && { value: copied, bytes: JSON.stringify(value, textOfBigint).length };
  }
  return undefined;
}

function textOfBigint(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
