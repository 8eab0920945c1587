import { relative } from 'node:path';
import ts from 'typescript';

/** Methods, by name, and functions of Node whose callbacks the event loop calls. */
const LISTENERS = new Set([
  'on',
  'once',
  'addListener',
  'prependListener',
  'prependOnceListener',
  'addEventListener',
]);
const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'nextTick']);

/** Methods that keep a promise for later. */
const KEEPING = new Set([ts.SyntaxKind.EqualsToken, ts.SyntaxKind.QuestionQuestionEqualsToken]);

/**
 * Callbacks that could throw into the event loop, and unawaited promises, as `file: code`. A callback is safe when
 * `guarded` made it or when it settles a promise. A promise is safe when `unawaited` takes it.
 */
export function looseCallbacks(program: ts.Program, folder: string): string[] {
  const checker = program.getTypeChecker();
  const found: string[] = [];
  for (const file of program.getSourceFiles()) {
    if (!file.fileName.startsWith(folder)) continue;
    const report = (node: ts.Node) => {
      const code = node.getText(file).replace(/\s+/g, ' ');
      found.push(`${relative(folder, file.fileName)}: ${code.slice(0, 100)}`);
    };
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node)) {
        const callback = callbackOf(node);
        if (callback && !isSafe(callback, checker)) report(node);
      }
      const left = ts.isExpressionStatement(node) || ts.isVoidExpression(node) ? node.expression : undefined;
      if (left && isLoosePromise(left, checker)) report(left);
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return found;
}

function callbackOf({ expression, arguments: given }: ts.CallExpression): ts.Expression | undefined {
  const name = ts.isPropertyAccessExpression(expression) ? expression.name.text : expression.getText();
  if (TIMERS.has(name) && (ts.isIdentifier(expression) || name === 'nextTick')) return given[0];
  if (ts.isElementAccessExpression(expression) && /['"](?:on|once)['"]/.test(expression.getText()))
    return given[1];
  return ts.isPropertyAccessExpression(expression) && LISTENERS.has(name) ? given[1] : undefined;
}

function isSafe(callback: ts.Expression, checker: ts.TypeChecker): boolean {
  if (isCallOf('guarded', callback)) return true;
  const declaration = checker.getSymbolAtLocation(
    ts.isPropertyAccessExpression(callback) ? callback.name : callback,
  )?.valueDeclaration;
  if (!declaration) return false;
  if (ts.isVariableDeclaration(declaration) || ts.isPropertyDeclaration(declaration)) {
    return declaration.initializer !== undefined && isCallOf('guarded', declaration.initializer);
  }
  // These are `resolve` and `reject`.
  return ts.isParameter(declaration) && ts.isNewExpression(declaration.parent.parent)
    ? declaration.parent.parent.expression.getText() === 'Promise'
    : false;
}

function isLoosePromise(expression: ts.Expression, checker: ts.TypeChecker): boolean {
  if (ts.isVoidExpression(expression) || ts.isAwaitExpression(expression)) return false; // checked separately
  if (isCallOf('unawaited', expression)) return false;
  if (ts.isBinaryExpression(expression) && KEEPING.has(expression.operatorToken.kind)) return false;
  const type = checker.getTypeAtLocation(expression);
  const parts = type.isUnion() ? type.types : [type];
  return parts.some((part) => checker.getPropertyOfType(part, 'then') !== undefined);
}

function isCallOf(name: string, node: ts.Node): boolean {
  return ts.isCallExpression(node) && node.expression.getText() === name;
}
