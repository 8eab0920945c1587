/**
 * Reads expressions as PostgreSQL prints them in `EXPLAIN (VERBOSE)`: every operator in parentheses, every column with the
 * alias of its table, every cast explicit. So a few rules read all of them, where SQL would need a parser of its own.
 */

/** An expression, with its place in the text that it was read from. */
export interface Expression {
  readonly kind:
    | 'column'
    | 'constant'
    | 'parameter'
    | 'cast'
    | 'call'
    | 'operator'
    | 'any'
    | 'test'
    | 'and'
    | 'or'
    | 'not'
    | 'row'
    | 'other';
  /** The text that it was read from, and the part of it. */
  readonly source: Source;
  readonly start: number;
  readonly end: number;
  /** The parts: operands, arguments or members. */
  readonly parts: readonly Expression[];
  /** Of a column: its name. Of a cast: the type. Of a call, an operator or a test: what it is. */
  readonly name: string;
  /** Of a column: the alias of its table. */
  readonly relation: string;
}

/** A text with its tokens. */
interface Source {
  readonly text: string;
  readonly tokens: readonly Token[];
}

interface Token {
  readonly kind: 'name' | 'quoted' | 'text' | 'number' | 'parameter' | 'operator' | 'mark';
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** A column of a relation of the plan. */
export interface ColumnReference {
  readonly relation: string;
  readonly name: string;
}

const TOKEN = new RegExp(
  [
    /(?<text>[bBxX]?'(?:[^']|'')*')/,
    /(?<quoted>"(?:[^"]|"")*")/,
    /(?<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)/,
    /(?<parameter>\$\d+)/,
    /(?<name>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)/,
    /(?<mark>::|:=|=>|[()[\],.;:])/,
    /(?<operator>[-+*/<>=~!@#%^&|`?]+)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'sy',
);

/** Longer expressions, such as lists of thousands, are not read. Characters. */
const MOST_READ = 20_000;

/** Expressions in expressions. */
const MOST_DEPTH = 100;

/** Words that are no columns or functions. */
const CONSTANTS = new Set(['true', 'false', 'null']);

/** @returns `undefined` if the text is none that this reader knows. */
export function readExpression(text: string): Expression | undefined {
  if (text.length > MOST_READ) return undefined;
  const tokens = tokensOf(text);
  if (!tokens) return undefined;
  return new Reader({ text, tokens }).readAll();
}

/** The columns in an expression. */
export function columnsOf(expression: Expression): ColumnReference[] {
  const found: ColumnReference[] = [];
  for (const { relation, name } of columnTokens(expression)) found.push({ relation, name });
  return found;
}

/** Adds an alias to columns: `Output` of a plan with one table names them without. */
export function qualifyColumns(text: string, alias: string, columns: ReadonlySet<string>): string {
  const tokens = tokensOf(text) ?? [];
  let qualified = '';
  let from = 0;
  tokens.forEach((token, at) => {
    const [before, after] = [tokens[at - 1]?.text, tokens[at + 1]?.text];
    const isName =
      (token.kind === 'name' || token.kind === 'quoted') && columns.has(unquotedName(token.text));
    if (!isName || before === '.' || before === '::' || after === '.' || after === '(') return;
    qualified += `${text.slice(from, token.start)}"${alias.replaceAll('"', '""')}".`;
    from = token.start;
  });
  return qualified + text.slice(from);
}

/** Names of functions and operators in an expression, as they are printed. */
export function functionsOf({ source, start, end }: Expression): {
  functions: string[];
  operators: string[];
} {
  const functions: string[] = [];
  const operators: string[] = [];
  const { tokens } = source;
  tokens.forEach((token, at) => {
    if (token.start < start || token.end > end) return;
    if (token.kind === 'operator') operators.push(token.text);
    const isName = token.kind === 'name' || token.kind === 'quoted';
    if (!isName || tokens[at + 1]?.text !== '(') return;
    const isOfType = tokens[at - 1]?.text === '::' || tokens[at - 2]?.text === '::';
    if (isOfType) return;
    // A name with a schema is printed where the search path does not lead to it.
    const schema = tokens[at - 1]?.text === '.' ? `${tokens[at - 2]?.text ?? ''}.` : '';
    functions.push(schema + unquotedName(token.text));
  });
  return { functions, operators };
}

/** The text without the aliases of tables. */
export function withoutAliases(expression: Expression): string {
  const { source, start, end } = expression;
  let text = '';
  let from = start;
  for (const { aliasStart, nameStart } of columnTokens(expression)) {
    text += source.text.slice(from, aliasStart);
    from = nameStart;
  }
  return text + source.text.slice(from, end);
}

/** The text of a key: without aliases, and without parentheses around all of it, which an order and a condition print differently. */
export function keyText(expression: Expression): string {
  const { source, start, end } = expression;
  const tokens = source.tokens.filter((token) => token.start >= start && token.end <= end);
  let text = withoutAliases(expression);
  for (let depth = outerParentheses(tokens); depth > 0; depth--) text = text.slice(1, -1).trim();
  return text;
}

/** The pairs of parentheses that enclose all tokens. */
function outerParentheses(tokens: readonly Token[]): number {
  let count = 0;
  while (tokens[count]?.text === '(' && tokens[tokens.length - 1 - count]?.text === ')') {
    const inside = tokens.slice(count + 1, tokens.length - 1 - count);
    let depth = 0;
    const isOpen = inside.every(({ text }) => {
      depth += text === '(' ? 1 : text === ')' ? -1 : 0;
      return depth >= 0;
    });
    if (!isOpen) break;
    count++;
  }
  return count;
}

/** The text as the server printed it. */
export function printedText({ source, start, end }: Expression): string {
  return source.text.slice(start, end);
}

/** Every condition of a conjunction. */
export function conjunctsOf(expression: Expression): readonly Expression[] {
  return expression.kind === 'and' ? expression.parts.flatMap(conjunctsOf) : [expression];
}

/** The expression inside casts that change the type's name alone, such as `(name)::text`, and collations. */
export function withoutCasts(expression: Expression): Expression {
  return expression.kind === 'cast' ? withoutCasts(expression.parts[0]!) : expression;
}

/** A name as the catalogue has it. */
export function unquotedName(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

interface FoundColumn extends ColumnReference {
  readonly aliasStart: number;
  readonly nameStart: number;
}

function* columnTokens({ source, start, end }: Expression): Generator<FoundColumn> {
  const { tokens } = source;
  for (let at = 0; at + 2 < tokens.length; at++) {
    const [alias, dot, name, next] = [tokens[at]!, tokens[at + 1]!, tokens[at + 2]!, tokens[at + 3]];
    if (alias.start < start || name.end > end || !isColumnAt(tokens, at)) continue;
    if (dot.text === '.' && next?.text !== '(') {
      yield {
        relation: unquotedName(alias.text),
        name: unquotedName(name.text),
        aliasStart: alias.start,
        nameStart: name.start,
      };
    }
  }
}

/** Whether an alias, a dot and a column start here: not a type, a collation, an operator with its schema, or a function. */
function isColumnAt(tokens: readonly Token[], at: number): boolean {
  const isName = (token: Token | undefined) => token?.kind === 'name' || token?.kind === 'quoted';
  const before = tokens[at - 1];
  if (!isName(tokens[at]) || tokens[at + 1]?.text !== '.') return false;
  if (!isName(tokens[at + 2]) && tokens[at + 2]?.text !== '*') return false;
  if (tokens[at + 3]?.text === '(') return false;
  return (
    before?.text !== '::' && before?.text !== '.' && before?.text !== 'COLLATE' && before?.text !== 'OPERATOR'
  );
}

function tokensOf(text: string): Token[] | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; ) {
    if (/\s/.test(text[at]!)) {
      at++;
      continue;
    }
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups;
    const found = groups && Object.entries(groups).find(([, value]) => value !== undefined);
    if (!found) return undefined;
    const [kind, value] = found as [Token['kind'], string];
    tokens.push({ kind, text: value, start: at, end: at + value.length });
    at += value.length;
  }
  return tokens;
}

/** Thrown inside of the reader alone. */
class UnknownSyntax extends Error {}

class Reader {
  readonly #source: Source;
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(source: Source) {
    this.#source = source;
    this.#tokens = source.tokens;
  }

  readAll(): Expression | undefined {
    try {
      const read = this.#operation();
      return this.#at === this.#tokens.length ? read : undefined;
    } catch (error) {
      if (error instanceof UnknownSyntax) return undefined;
      throw error;
    }
  }

  /** The inside of parentheses: an operand, or operands with operators of one kind between them. */
  #operation(): Expression {
    if (++this.#depth > MOST_DEPTH) throw new UnknownSyntax();
    const from = this.#at;
    const read = this.#prefixed(from) ?? this.#continued(from, this.#operand());
    this.#depth--;
    return read;
  }

  #prefixed(from: number): Expression | undefined {
    if (this.#takesWord('NOT')) return this.#make('not', from, [this.#operand()]);
    const token = this.#tokens[this.#at];
    if (token?.kind !== 'operator') return undefined;
    this.#at++;
    return this.#make('operator', from, [this.#operand()], token.text);
  }

  #continued(from: number, first: Expression): Expression {
    const operator = this.#takeOperator();
    if (operator !== undefined) return this.#compared(from, first, operator);
    for (const word of ['AND', 'OR'] as const) {
      if (!this.#takesWord(word)) continue;
      const parts = [first, this.#operand()];
      while (this.#takesWord(word)) parts.push(this.#operand());
      return this.#make(word === 'AND' ? 'and' : 'or', from, parts);
    }
    if (this.#takesWord('IS')) return this.#tested(from, first);
    if (this.#takesWord('COLLATE')) {
      this.#skipName();
      return this.#make('other', from, [first]);
    }
    if (this.#takesWord('AT')) {
      for (const word of ['TIME', 'ZONE']) if (!this.#takesWord(word)) throw new UnknownSyntax();
      return this.#make('call', from, [first, this.#operand()], 'timezone');
    }
    return first;
  }

  #compared(from: number, left: Expression, operator: string): Expression {
    const isAny = this.#takesWord('ANY');
    if (!isAny && !this.#takesWord('ALL'))
      return this.#make('operator', from, [left, this.#operand()], operator);
    return this.#make(isAny ? 'any' : 'other', from, [left, this.#operand()], operator);
  }

  #tested(from: number, of: Expression): Expression {
    const words: string[] = [];
    while (this.#tokens[this.#at]?.kind === 'name' && this.#tokens[this.#at + 1]?.text !== '.') {
      words.push(this.#tokens[this.#at++]!.text.toLowerCase());
    }
    const test = words.join(' ');
    if (test === 'distinct from' || test === 'not distinct from')
      return this.#make('other', from, [of, this.#operand()]);
    return this.#make('test', from, [of], test);
  }

  /** One operand with its casts, subscripts and fields. */
  #operand(): Expression {
    const from = this.#at;
    let read = this.#primary();
    for (;;) {
      const mark = this.#tokens[this.#at]?.text;
      if (mark === '::') {
        this.#at++;
        read = this.#make('cast', from, [read], this.#skipType());
      } else if (mark === '[') {
        this.#skipBrackets('[', ']');
        read = this.#make('other', from, [read]);
      } else if (mark === '.') {
        this.#at++;
        this.#skipName();
        read = this.#make('other', from, [read]);
      } else return read;
    }
  }

  #primary(): Expression {
    const from = this.#at;
    const token = this.#tokens[from];
    if (!token) throw new UnknownSyntax();
    if (token.text === '(') {
      this.#at++;
      const inside = this.#operation();
      this.#take(')');
      // The parentheses belong to it, as the server prints it.
      return { ...inside, start: token.start, end: this.#tokens[this.#at - 1]!.end };
    }
    if (token.kind === 'text' || token.kind === 'number') return this.#leaf('constant', 1);
    if (token.kind === 'parameter') return this.#leaf('parameter', 1);
    if (token.kind === 'operator') {
      // A sign before a number.
      this.#at++;
      return this.#make('operator', from, [this.#operand()], token.text);
    }
    if (token.kind !== 'name' && token.kind !== 'quoted') throw new UnknownSyntax();
    return isColumnAt(this.#tokens, from) ? this.#column() : this.#named(token);
  }

  #column(): Expression {
    const [alias, , name] = this.#tokens.slice(this.#at, this.#at + 3);
    const read = this.#leaf('column', 3);
    return { ...read, relation: unquotedName(alias!.text), name: unquotedName(name!.text) };
  }

  /** A constant, a function, a constructor, or a plan of its own. */
  #named(token: Token): Expression {
    const from = this.#at;
    const word = token.text.toUpperCase();
    if (CONSTANTS.has(token.text.toLowerCase())) return this.#leaf('constant', 1);
    if (word === 'CASE') return this.#skippedCase();
    if (word === 'SUBPLAN' || word === 'INITPLAN' || word === 'HASHED') {
      while (this.#tokens[this.#at] && this.#tokens[this.#at]!.text !== ')') this.#at++;
      return this.#make('other', from, []);
    }
    this.#skipName();
    if (this.#tokens[this.#at]?.text === '[') {
      this.#skipBrackets('[', ']');
      return this.#make('other', from, [], 'array');
    }
    if (this.#tokens[this.#at]?.text !== '(') return this.#make('other', from, []);
    const name = unquotedName(this.#tokens[this.#at - 1]!.text);
    const parts = this.#arguments();
    if (parts === undefined) return this.#make('call', from, [], name);
    return this.#make(word === 'ROW' ? 'row' : 'call', from, parts, name);
  }

  /** @returns `undefined` for a syntax of its own, such as `EXTRACT(year FROM …)`. */
  #arguments(): Expression[] | undefined {
    const from = this.#at;
    const parts: Expression[] = [];
    this.#take('(');
    try {
      if (this.#tokens[this.#at]?.text !== ')') parts.push(this.#operation());
      while (this.#tokens[this.#at]?.text === ',') {
        this.#at++;
        parts.push(this.#operation());
      }
      this.#take(')');
      return parts;
    } catch (error) {
      if (!(error instanceof UnknownSyntax)) throw error;
      this.#at = from;
      this.#skipBrackets('(', ')');
      return undefined;
    }
  }

  #skippedCase(): Expression {
    const from = this.#at;
    let depth = 0;
    for (; this.#at < this.#tokens.length; this.#at++) {
      const word = this.#tokens[this.#at]!.text.toUpperCase();
      if (word === 'CASE') depth++;
      if (word === 'END' && --depth === 0) {
        this.#at++;
        return this.#make('other', from, []);
      }
    }
    throw new UnknownSyntax();
  }

  /** A type may have several words, a length, a time zone and brackets. */
  #skipType(): string {
    const from = this.#at;
    this.#skipName();
    if (this.#tokens[this.#at]?.text === '(') this.#skipBrackets('(', ')');
    for (const words of [['precision'], ['varying'], ['with', 'time', 'zone'], ['without', 'time', 'zone']]) {
      const isNext = words.every((word, at) => this.#tokens[this.#at + at]?.text === word);
      if (!isNext) continue;
      this.#at += words.length;
      if (this.#tokens[this.#at]?.text === '(') this.#skipBrackets('(', ')');
    }
    while (this.#tokens[this.#at]?.text === '[' && this.#tokens[this.#at + 1]?.text === ']') this.#at += 2;
    return this.#source.text.slice(this.#tokens[from]!.start, this.#tokens[this.#at - 1]!.end);
  }

  /** A name with or without its schema. */
  #skipName(): void {
    for (;;) {
      const { kind } = this.#tokens[this.#at] ?? {};
      if (kind !== 'name' && kind !== 'quoted') throw new UnknownSyntax();
      this.#at++;
      if (this.#tokens[this.#at]?.text !== '.') return;
      this.#at++;
    }
  }

  #skipBrackets(open: string, close: string): void {
    let depth = 0;
    for (; this.#at < this.#tokens.length; this.#at++) {
      const { text } = this.#tokens[this.#at]!;
      if (text === open) depth++;
      if (text === close && --depth === 0) {
        this.#at++;
        return;
      }
    }
    throw new UnknownSyntax();
  }

  /** An operator; with its schema where the search path does not lead to it. */
  #takeOperator(): string | undefined {
    const token = this.#tokens[this.#at];
    if (token?.kind === 'operator') {
      this.#at++;
      return token.text;
    }
    if (token?.text !== 'OPERATOR') return undefined;
    const from = this.#at + 1;
    this.#at++;
    this.#skipBrackets('(', ')');
    return this.#tokens.slice(from, this.#at).find(({ kind }) => kind === 'operator')?.text;
  }

  #takesWord(word: string): boolean {
    const token = this.#tokens[this.#at];
    const isIt = token?.kind === 'name' && token.text === word;
    if (isIt) this.#at++;
    return isIt;
  }

  #take(mark: string): void {
    if (this.#tokens[this.#at]?.text !== mark) throw new UnknownSyntax();
    this.#at++;
  }

  #leaf(kind: Expression['kind'], tokens: number): Expression {
    const from = this.#at;
    this.#at += tokens;
    return this.#make(kind, from, []);
  }

  #make(kind: Expression['kind'], from: number, parts: readonly Expression[], name = ''): Expression {
    const start = this.#tokens[from]!.start;
    const end = this.#tokens[this.#at - 1]!.end;
    return { kind, source: this.#source, start, end, parts, name, relation: '' };
  }
}
