/** A statement without its values, for people and as its identity. */
export interface Fingerprint {
  /** With `?` for each value, without comments; at most 2,000 characters. */
  readonly text: string;
  /** The first word in capitals, such as `SELECT`; `OTHER` if it is none that is known. */
  readonly operation: string;
}

/** Statements that may be shown. Others, such as `ALTER ROLE … PASSWORD`, hold secrets where no literal is expected. */
const SHOWN = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'WITH', 'VALUES', 'TABLE', 'CALL']);

/** Other statements whose first word is shown. */
const NAMED = new Set(
  (
    'BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE SET RESET SHOW COPY CREATE ALTER DROP TRUNCATE GRANT REVOKE ' +
    'COMMENT EXPLAIN ANALYZE VACUUM REINDEX REFRESH CLUSTER LOCK LISTEN UNLISTEN NOTIFY DO PREPARE EXECUTE DEALLOCATE ' +
    'DECLARE FETCH CLOSE DISCARD CHECKPOINT'
  ).split(' '),
);

/** Longer statements are cut before they are read. Characters. */
const MOST_READ = 10_000;

const MOST_SHOWN = 2_000;

/** One token of SQL; the first form that fits counts. Words take their digits along, so that those are no numbers. */
const TOKEN = new RegExp(
  [
    /(?<line>--[^\n]*)/,
    /(?<block>\/\*)/,
    /(?<text>\b[eE]'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)|(?:\b[bBxXnN]|\b[uU]&)?'(?:[^']|'')*(?:'|$))/,
    /(?<name>(?:\b[uU]&)?"(?:[^"]|"")*(?:"|$))/,
    /(?<tag>\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)/,
    /(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)/,
    /(?<value>\$\d+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?\w*)/,
    /(?<space>\s+)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

/**
 * Reads a statement. Values become `?`, comments go, lists of `IN` and further rows of `VALUES` shrink, so that one
 * piece of code has one fingerprint. Statements other than queries and changes of rows show their first word alone.
 */
export function fingerprintOf(sql: string): Fingerprint {
  const plain = maskValues(sql.slice(0, MOST_READ));
  const word = /^[\s(]*([A-Za-z]+)/.exec(plain)?.[1]?.toUpperCase() ?? '';
  if (!SHOWN.has(word)) {
    const operation = NAMED.has(word) ? word : 'OTHER';
    const isAlone = plain.toUpperCase().replace(/;$/, '') === operation;
    return { text: isAlone || plain === '' ? operation : `${operation} …`, operation };
  }
  // A second statement may be of a kind that is not shown.
  const end = plain.indexOf(';');
  const first = end < 0 ? plain : plain.slice(0, end);
  const rest = end < 0 || plain.slice(end + 1).trim() === '' ? '' : '; …';
  const short = first
    .replace(/\bIN ?\( ?\?(?: ?, ?\?)* ?\)/gi, 'IN (…)')
    .replace(/(\bVALUES ?\([^()]*\))(?: ?, ?\([^()]*\))+/gi, '$1, …')
    .trim();
  const text = short.length > MOST_SHOWN ? `${short.slice(0, MOST_SHOWN)}…` : short;
  return { text: text + rest, operation: word };
}

/** A text of SQL with `?` for each value, without comments. */
export function maskValues(sql: string): string {
  const parts: string[] = [];
  let from = 0;
  TOKEN.lastIndex = 0;
  for (let found = TOKEN.exec(sql); found; found = TOKEN.exec(sql)) {
    parts.push(sql.slice(from, found.index));
    const { line, block, text, tag, value, space } = found.groups!;
    if (block !== undefined) TOKEN.lastIndex = endOfComment(sql, found.index + 2);
    else if (tag !== undefined) {
      const end = sql.indexOf(tag, TOKEN.lastIndex);
      TOKEN.lastIndex = end < 0 ? sql.length : end + tag.length;
    }
    if (text ?? tag ?? value) parts.push('?');
    else if (line ?? block ?? space) parts.push(' ');
    else parts.push(found[0]);
    from = TOKEN.lastIndex;
    // A sticky index at the end would begin again.
    if (from >= sql.length) break;
  }
  parts.push(sql.slice(from));
  return parts.join('').replace(/\s+/g, ' ').trim();
}

/** Comments may hold comments. */
function endOfComment(sql: string, from: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = from;
  let depth = 1;
  for (let found = mark.exec(sql); found; found = mark.exec(sql)) {
    depth += found[0] === '/*' ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return sql.length;
}
