/** Words that may come before a parenthesis: keywords, types, and functions of PostgreSQL that change nothing. */
const KNOWN = new Set(
  (
    'all and any array as between bit by case cast char decimal distinct else except exists filter from group having ilike ' +
    'in intersect is join lateral like limit not numeric offset on or over partition row select some then time timestamp ' +
    'timestamptz union using values varchar when where within ' +
    'abs age array_agg array_length array_to_string avg bool_and bool_or btrim cardinality ceil ceiling char_length coalesce ' +
    'concat concat_ws count date_part date_trunc decode dense_rank encode every exp extract first_value floor format ' +
    'generate_series greatest json_agg json_array_elements json_build_array json_build_object json_object_agg ' +
    'jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object ' +
    'jsonb_object_agg lag last_value lead least left length ln log lower lpad ltrim make_date max md5 min mod now ntile nullif ' +
    'octet_length percentile_cont percentile_disc phraseto_tsquery plainto_tsquery position power rank regexp_match ' +
    'regexp_replace repeat replace reverse right round row_number row_to_json rpad rtrim sign split_part sqrt stddev ' +
    'string_agg string_to_array strpos substr substring sum to_char to_date to_json to_jsonb to_timestamp to_tsquery ' +
    'to_tsvector translate trim trunc ts_headline ts_rank ts_rank_cd unnest upper websearch_to_tsquery'
  ).split(' '),
);

/** Fingerprints of this length may have been cut. Characters. */
const LONGEST = 2_000;

/**
 * Whether a statement only reads, as far as its text can prove. It must be one SELECT that locks no rows. It calls only
 * functions of PostgreSQL that change nothing.
 *
 * @param text a fingerprint, which has neither literals nor comments.
 */
export function isPlainRead(text: string): boolean {
  if (!/^SELECT\b/i.test(text) || text.length >= LONGEST || text.includes(';')) return false;
  // INTO makes a table, and FOR locks rows.
  if (/\b(?:INTO|FOR)\b/i.test(text)) return false;
  for (const [, name = ''] of text.matchAll(/("[^"]*"|[\w$.\u0080-\uffff]+) ?\(/g)) {
    if (!KNOWN.has(name.toLowerCase().replace(/^pg_catalog\./, ''))) return false;
  }
  return true;
}
