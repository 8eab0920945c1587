/** Webpack, Parcel, Next.js, Angular: 8 digits or more in base 16, with a letter and a digit among them. */
const HEX = /(?:^|[.-])(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{8,64}$/;
/** A name that is a hash alone, as webpack names files by default. Shorter ones may be words or numbers. */
const LEAST_ALONE = 16;
/** esbuild: 8 characters of base 32. */
const BASE_32 = /[.-]([A-Z2-7]{8})$/;
/** Vite and Rollup: 8 characters of base64url. A hash may contain a hyphen, so its length is fixed. */
const BASE_64 = /[.-]([\w-]{8})$/;

/** A UUID, or an ObjectId of MongoDB, names a record: `avatars/550e8400-e29b-41d4-a716-44665544aa00.png`. */
const RECORD_ID = /(?:^|[^\da-f])(?:[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}|[\da-f]{24})$/i;
/** `15dec2024` and `2024Q3v2` are dates, `1e100000` is a number. A long hash contains a year by chance. */
const DATE_OR_NUMBER = /^(?=.{1,15}$)(?:.*(?:19|20)\d\d|[.-]?\d+e\d+$)/;
/** Links to pages name them without a hash, so no tool writes one. */
const PAGE = /\.x?html?$/i;

/** Changes between kinds of characters that make 8 characters a hash. Names such as `iPhone15` or `1280x720` have 2. */
const LEAST_CHANGES = { base32: 2, base64: 3 } as const;

/**
 * Whether the name of a file contains a hash of its content, as bundlers write it: `index-BkL3d9_x.js`,
 * `main.8e1c2f3d.chunk.js`.
 *
 * A hash that looks like a word, a number or a date does not count, and a page has none. A file that is revalidated too
 * often costs little, and one that is wrongly kept for a year cannot be withdrawn.
 *
 * @param name the last segment of its path.
 */
export function isHashedName(name: string): boolean {
  if (PAGE.test(name)) return false;
  const parts = name.split('.');
  return parts.slice(0, -1).some((part, at) => endsWithHash(at === 0 ? part : `.${part}`));
}

/**
 * Whether a name has the form that Vite gives to hashed files. Many other names have it too, so this is only for files
 * that a manifest lists.
 */
export function mayBeHashedByVite(name: string): boolean {
  return /[.-][\w-]{8,}\.\w+$/.test(name);
}

function endsWithHash(part: string): boolean {
  if (RECORD_ID.test(part)) return false;
  const hex = HEX.exec(part)?.[0];
  if (hex !== undefined && DATE_OR_NUMBER.test(hex)) return false;
  if (hex !== undefined && (/^[.-]/.test(hex) || hex.length >= LEAST_ALONE)) return true;
  const base32 = BASE_32.exec(part)?.[1];
  if (base32 !== undefined && changesOf(base32) >= LEAST_CHANGES.base32) return true;
  const base64 = BASE_64.exec(part)?.[1];
  if (base64 === undefined || DATE_OR_NUMBER.test(base64)) return false;
  return changesOf(base64.replace(/[_-]/g, '')) >= LEAST_CHANGES.base64;
}

/** Counts the changes between lower case, upper case and digits. A capital that begins a word is no change. */
function changesOf(text: string): number {
  let changes = 0;
  for (let at = 1; at < text.length; at++) {
    const [before, after] = [characterKind(text[at - 1]!), characterKind(text[at]!)];
    if (before !== after && !(before === 'upper' && after === 'lower')) changes++;
  }
  return changes;
}

function characterKind(character: string): 'lower' | 'upper' | 'digit' {
  if (character >= 'a' && character <= 'z') return 'lower';
  return character >= 'A' && character <= 'Z' ? 'upper' : 'digit';
}
