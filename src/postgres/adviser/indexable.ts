import type { Session } from '../sessions.js';
import { type Expression, functionsOf, printedText } from './expression.js';

/** Types of the server whose conversions do not run code of the database's users. */
const TYPES =
  /^(?:text|character varying|character|bpchar|name|boolean|smallint|integer|bigint|numeric|real|double precision|date|timestamp without time zone|timestamp with time zone|time without time zone|interval|uuid|jsonb?|inet|cidr|bytea|regconfig|tsvector|tsquery|"char"|int4range|int8range|numrange|tsrange|tstzrange|daterange|\w+multirange|point|box|polygon|circle|lseg|path|line)(?:\(\d+(?:,\d+)?\))?(?:\[\])*$/;

/** Syntax that looks like functions. */
const SYNTAX = new Set([
  'coalesce',
  'nullif',
  'greatest',
  'least',
  'row',
  'any',
  'all',
  'in',
  'and',
  'or',
  'not',
]);

/** Conversions of times depend on the time zone of the session. */
const ZONED = /timestamp with time zone|::date\b|::timestamp/;

/** Decides which expressions may be keys of an index: built-in immutable functions alone, because others run code. */
export class IndexableFunctions {
  readonly #always: ReadonlySet<string>;
  readonly #sometimes: ReadonlySet<string>;
  readonly #volatile: ReadonlySet<string>;
  readonly #ownOperators: ReadonlySet<string>;

  private constructor(
    functions: readonly Record<string, unknown>[],
    operators: readonly Record<string, unknown>[],
    volatile: readonly Record<string, unknown>[],
  ) {
    const names = (rows: readonly Record<string, unknown>[]) => new Set(rows.map(({ name }) => String(name)));
    this.#always = names(functions.filter(({ always }) => always === true));
    this.#sometimes = names(functions);
    this.#volatile = names(volatile);
    this.#ownOperators = names(operators);
  }

  static async read(session: Session): Promise<IndexableFunctions> {
    const functions = await session.query(FUNCTIONS);
    const operators = await session.query(OPERATORS);
    const volatile = await session.query(VOLATILE);
    return new IndexableFunctions(functions.rows, operators.rows, volatile.rows);
  }

  /** Whether a function in an expression may give another result for each row. */
  isVolatile(expression: Expression): boolean {
    const { functions } = functionsOf(expression);
    return functions.some((name) => this.#volatile.has(name.slice(name.lastIndexOf('.') + 1)));
  }

  /** @param serverDecides whether the server will refuse a form of a function that is not immutable. */
  allows(expression: Expression, serverDecides: boolean): boolean {
    const { functions, operators } = functionsOf(expression);
    const text = printedText(expression);
    if (/\bSubPlan\b|\bInitPlan\b|\$\d|\bCURRENT_|\bSESSION_USER\b|\bOPERATOR\(/.test(text)) return false;
    if (operators.some((operator) => this.#ownOperators.has(operator))) return false;
    if (typesOf(text).some((type) => !TYPES.test(type))) return false;
    const isKnown = (name: string) =>
      SYNTAX.has(name.toLowerCase()) ||
      this.#always.has(name.toLowerCase()) ||
      (serverDecides && this.#sometimes.has(name.toLowerCase()));
    return functions.every(isKnown) && (serverDecides || !ZONED.test(text));
  }
}

function typesOf(text: string): string[] {
  const outside = text.replace(/'(?:[^']|'')*'/g, "''");
  return [
    ...outside.matchAll(
      /::((?:"[^"]+"|[\w.]+)(?: precision| varying)?(?:\(\d+(?:,\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*)/g,
    ),
  ].map(([, type]) => type!);
}

const FUNCTIONS = `
SELECT proname AS name, every(provolatile = 'i') AS always FROM pg_proc GROUP BY proname
HAVING every(pronamespace = 'pg_catalog'::regnamespace) AND bool_or(provolatile = 'i')`;

const VOLATILE = `SELECT DISTINCT proname AS name FROM pg_proc WHERE provolatile = 'v'`;

// Those of extensions are installed by administrators.
const OPERATORS = `
SELECT DISTINCT oprname AS name FROM pg_operator o WHERE oprnamespace <> 'pg_catalog'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')`;
