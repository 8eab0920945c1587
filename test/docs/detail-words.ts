import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/** Properties, variables and parameters that hold a reason. A value that flows into one of them is a `detail`. */
const SINKS: ReadonlySet<string> = new Set(['detail', 'refusal', 'bypass', 'skip']);

/** A function by its name, with the position of each parameter. */
interface Callable {
  readonly node: ts.FunctionLikeDeclaration;
  readonly parameters: readonly string[];
}

/**
 * Collects every literal word that the source can send as `detail` of `Cache-Status`.
 *
 * It follows values by name through object literals, assignments, arguments and return values, without types. It may
 * find a word too many; a test then demands that it be documented or renamed. It misses no word as long as reasons go
 * through one of the names in `SINKS`.
 *
 * @param folders relative to `root`; those that do not exist are ignored.
 */
export function detailWords(root: string, folders: readonly string[]): Set<string> {
  const files = folders.flatMap((folder) => sourceFiles(join(root, folder)));
  const functions = new Map<string, Callable[]>();
  const calls = new Map<string, ts.CallExpression[]>();
  const written = new Map<string, ts.Expression[]>();
  for (const file of files) visit(file, (node) => index(node, functions, calls, written));

  const words = new Set<string>();
  const seen = new Set<ts.Node>();
  const follow = (expression: ts.Expression | undefined): void => {
    if (!expression || seen.has(expression)) return;
    seen.add(expression);
    const node = unwrapped(expression);
    if (ts.isStringLiteral(node)) words.add(node.text);
    else if (ts.isConditionalExpression(node)) {
      follow(node.whenTrue);
      follow(node.whenFalse);
    } else if (ts.isBinaryExpression(node)) {
      const operator = node.operatorToken.kind;
      const isChoice =
        operator === ts.SyntaxKind.QuestionQuestionToken ||
        operator === ts.SyntaxKind.BarBarToken ||
        operator === ts.SyntaxKind.AmpersandAmpersandToken;
      if (isChoice) {
        follow(node.left);
        follow(node.right);
      }
    } else if (ts.isIdentifier(node)) followName(node);
    else if (ts.isArrayLiteralExpression(node)) node.elements.forEach(follow);
    else if (isFind(node)) follow(node.expression.expression);
    else if (ts.isCallExpression(node)) {
      for (const { node: called } of functions.get(calledName(node)) ?? []) followReturns(called);
    }
  };
  const followName = (name: ts.Identifier): void => {
    for (let scope: ts.Node | undefined = name.parent; scope; scope = scope.parent) {
      if (ts.isFunctionLike(scope) && 'body' in scope) {
        const at = parameterNames(scope).indexOf(name.text);
        if (at >= 0) return followArguments(functionName(scope), at);
      }
      const declared = ts.isBlock(scope) || ts.isSourceFile(scope) ? variableIn(scope, name.text) : undefined;
      if (declared) return follow(declared);
    }
  };
  const followArguments = (name: string, at: number): void => {
    for (const call of calls.get(name) ?? []) follow(call.arguments[at]);
  };
  const followReturns = (called: ts.FunctionLikeDeclaration): void => {
    if (!called.body || seen.has(called.body)) return;
    seen.add(called.body);
    if (!ts.isBlock(called.body)) return follow(called.body);
    visit(called.body, (node) => {
      if (ts.isReturnStatement(node)) follow(node.expression);
    });
  };

  for (const sink of SINKS) {
    for (const value of written.get(sink) ?? []) follow(value);
    for (const [name, found] of functions) {
      for (const { parameters } of found) {
        const at = parameters.indexOf(sink);
        if (at >= 0) followArguments(name, at);
      }
    }
  }
  return words;
}

function sourceFiles(folder: string): ts.SourceFile[] {
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const text = readFileSync(join(folder, name), 'utf8');
      return ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
    });
}

function visit(node: ts.Node, each: (node: ts.Node) => void): void {
  each(node);
  ts.forEachChild(node, (child) => visit(child, each));
}

function index(
  node: ts.Node,
  functions: Map<string, Callable[]>,
  calls: Map<string, ts.CallExpression[]>,
  written: Map<string, ts.Expression[]>,
): void {
  if (ts.isFunctionLike(node) && 'body' in node) {
    const callable: Callable = { node, parameters: parameterNames(node) };
    add(functions, functionName(node), callable);
  } else if (ts.isCallExpression(node)) add(calls, calledName(node), node);
  else if (ts.isPropertyAssignment(node)) add(written, node.name.getText(), node.initializer);
  else if (ts.isShorthandPropertyAssignment(node)) add(written, node.name.text, node.name);
  else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken) {
    add(written, lastName(node.left), node.right);
  }
}

function add<T>(map: Map<string, T[]>, name: string, value: T): void {
  const known = map.get(name);
  if (known) known.push(value);
  else map.set(name, [value]);
}

function lastName(node: ts.Node): string {
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  return ts.isIdentifier(node) ? node.text : '';
}

/** Whether a call chooses an element of a list. */
function isFind(
  node: ts.Node,
): node is ts.CallExpression & { readonly expression: ts.PropertyAccessExpression } {
  return (
    ts.isCallExpression(node) &&
    ts.isPropertyAccessExpression(node.expression) &&
    node.expression.name.text === 'find'
  );
}

function calledName(call: ts.CallExpression): string {
  return lastName(call.expression);
}

/** Its own name, or that of the variable or property that holds it. */
function functionName(node: ts.SignatureDeclaration): string {
  if (node.name) return node.name.getText();
  const holder = node.parent;
  return ts.isVariableDeclaration(holder) || ts.isPropertyAssignment(holder) ? holder.name.getText() : '';
}

function parameterNames(node: ts.SignatureDeclaration): string[] {
  return node.parameters.map(({ name }) => name.getText());
}

/** Without parentheses, `as` and `!`. */
function unwrapped(node: ts.Expression): ts.Expression {
  const isWrapper =
    ts.isParenthesizedExpression(node) || ts.isAsExpression(node) || ts.isNonNullExpression(node);
  return isWrapper ? unwrapped(node.expression) : node;
}

/** The first value of a variable that a block declares itself. */
function variableIn(block: ts.Block | ts.SourceFile, name: string): ts.Expression | undefined {
  for (const statement of block.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const declared of statement.declarationList.declarations) {
      if (declared.name.getText() === name) return declared.initializer;
    }
  }
  return undefined;
}
