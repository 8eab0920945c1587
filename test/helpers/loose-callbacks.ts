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
  if (ts.isCallExpression(expression) && declaresNoPromise(expression, checker)) return false;
  return hasThen(checker.getTypeAtLocation(expression), checker);
}

/** Whether no signature of the function returns a promise. Its arguments, whose check takes longest, have no part in it. */
function declaresNoPromise(call: ts.CallExpression, checker: ts.TypeChecker): boolean {
  const called = checker.getNonNullableType(checker.getTypeAtLocation(call.expression));
  const signatures = checker.getSignaturesOfType(called, ts.SignatureKind.Call);
  return (
    signatures.length > 0 &&
    signatures.every((signature) => {
      const type = checker.getReturnTypeOfSignature(signature);
      return !partsOf(type).some(isGeneric) && !hasThen(type, checker);
    })
  );
}

/** Whether only a call decides what the type is. */
const isGeneric = ({ flags }: ts.Type): boolean => (flags & ts.TypeFlags.Instantiable) !== 0;

const hasThen = (type: ts.Type, checker: ts.TypeChecker): boolean =>
  partsOf(type).some((part) => checker.getPropertyOfType(part, 'then') !== undefined);

const partsOf = (type: ts.Type): readonly ts.Type[] => (type.isUnion() ? type.types : [type]);

function isCallOf(name: string, node: ts.Node): boolean {
  return ts.isCallExpression(node) && node.expression.getText() === name;
}
