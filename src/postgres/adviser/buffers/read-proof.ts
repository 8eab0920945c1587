import { fingerprintOf, maskValues } from '../../monitor/fingerprint.js';
import type { Session } from '../../sessions.js';
import { nodesOf, type PlanStep } from '../plan.js';

/** Nodes that write, lock, or run code of others. */
const UNSAFE_NODES = new Set(['ModifyTable', 'LockRows', 'Foreign Scan', 'Custom Scan']);

/** Words of statements that write, lock or make a table. As the name of a column they refuse as well. */
const UNSAFE_WORDS =
  /\b(?:INTO|FOR|INSERT|UPDATE|DELETE|MERGE|COPY|CALL|DO|SET|LOCK|EXECUTE|PREPARE|NOTIFY|TRUNCATE|CREATE|DROP|ALTER)\b/i;

/** Longer fingerprints may have been cut. Characters. */
const LONGEST = 2_000;

/**
 * Proves that a statement only reads: by its text, by its plan, and by the functions of the database. The text shows what
 * plans hide, such as the expression of LIMIT. The plan shows what texts hide: views, policies, and functions inside of them.
 */
export class ReadProof {
  /** Functions that are volatile, or that people have made. */
  readonly #functions: ReadonlySet<string>;
  readonly #operators: ReadonlySet<string>;
  /** Types whose conversions or checks run such functions. */
  readonly #types: ReadonlySet<string>;

  private constructor(functions: readonly string[], operators: readonly string[], types: readonly string[]) {
    this.#functions = new Set(functions);
    this.#operators = new Set(operators);
    this.#types = new Set(types);
  }

  static async read(session: Session): Promise<ReadProof> {
    const names = async (text: string) => (await session.query(text)).rows.map(({ name }) => String(name));
    return new ReadProof(await names(FUNCTIONS), await names(OPERATORS), await names(TYPES));
  }

  /** @param root of the plan, with `VERBOSE`. */
  proves(text: string, root: PlanStep): boolean {
    const { text: plain, operation } = fingerprintOf(text);
    if (!/^(?:SELECT|WITH|VALUES|TABLE)$/.test(operation) || plain.length >= LONGEST) return false;
    if (plain.includes(';') || UNSAFE_WORDS.test(plain) || !this.#isHarmless(plain)) return false;
    const nodes = nodesOf(root).map(({ node }) => node);
    if (nodes.some((node) => UNSAFE_NODES.has(node['Node Type'])) || hidesExpressions(plain, root))
      return false;
    return nodes.every((node) => textsOf(node).every((each) => this.#isHarmless(maskValues(each))));
  }

  /** Whether an SQL text without values names no function, operator or type that could change anything. */
  #isHarmless(text: string): boolean {
    if (/\bOPERATOR ?\(/i.test(text)) return false;
    // `row.function` calls it too.
    for (const [, before, quoted, plain = '', after] of text.matchAll(NAME)) {
      const name = quoted === undefined ? plain.toLowerCase() : quoted.replaceAll('""', '"');
      if ((after !== undefined || before !== undefined) && this.#functions.has(name)) return false;
      if (this.#types.has(name)) return false;
    }
    const operators = text.replace(/"(?:[^"]|"")*"/g, '').match(/[-+*/<>=~!@#%^&|`?]+/g) ?? [];
    return !operators.some((operator) => this.#operators.has(operator));
  }
}

const NAME = /(\.\s*)?(?:"((?:[^"]|"")*)"|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*))(\s*\()?/g;

/** Everything that a node prints, except the nodes below. */
function textsOf(node: PlanStep): string[] {
  return Object.entries(node)
    .filter(([name]) => name !== 'Plans')
    .flatMap(([, value]) => (Array.isArray(value) ? value : [value]))
    .filter((value): value is string => typeof value === 'string');
}

/** Whether a view may have expressions that its plan does not print: those of VALUES, LIMIT and the frames of windows. */
function hidesExpressions(text: string, root: PlanStep): boolean {
  const count = (words: RegExp) => text.match(words)?.length ?? 0;
  const nodes = nodesOf(root);
  const has = (type: string) => nodes.some(({ node }) => node['Node Type'] === type);
  // Processes of one query repeat its limit, and the server reads the end of an order for `min` and `max`.
  const limits = nodes.filter(
    ({ node, above: [upper] }) =>
      node['Node Type'] === 'Limit' &&
      !upper?.['Node Type'].startsWith('Gather') &&
      !node['Parent Relationship']?.startsWith('InitPlan'),
  );
  const written = count(/\b(?:LIMIT|OFFSET|FETCH)\b/gi) + count(/\b(?:min|max) ?\(/gi);
  return (
    (has('Values Scan') && count(/\bVALUES\b/gi) === 0 && count(/\bIN \(…\)/g) === 0) ||
    (has('WindowAgg') && count(/\bOVER\b/gi) === 0) ||
    limits.length > written
  );
}

// Functions of extensions are installed by administrators; those in C that are not volatile only compute.
const FUNCTIONS = `
SELECT DISTINCT p.proname AS name FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.provolatile = 'v' OR (p.pronamespace <> 'pg_catalog'::regnamespace AND NOT (l.lanname IN ('c', 'internal')
  AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')))`;

const OPERATORS = `
SELECT DISTINCT oprname AS name FROM pg_operator o WHERE oprnamespace <> 'pg_catalog'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')`;

const OWN_FUNCTION = `SELECT FROM pg_proc p WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND NOT EXISTS (
  SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')`;

const TYPES = `
SELECT t.typname AS name FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid
WHERE EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
  AND d.refclassid = 'pg_proc'::regclass)
UNION SELECT t.typname FROM pg_cast k JOIN pg_type t ON t.oid IN (k.castsource, k.casttarget)
WHERE EXISTS (${OWN_FUNCTION} AND p.oid = k.castfunc)
UNION SELECT t.typname FROM pg_type t WHERE t.typtype = 'b' AND EXISTS (${OWN_FUNCTION} AND p.oid = t.typinput)`;
