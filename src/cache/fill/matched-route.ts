import { parse, pathToRegexp, type Token } from 'path-to-regexp';
import type { Exchange } from '../../exchange/exchange.js';

/**
 * Whether the response comes from another route than the rule is for. Under a rule for `/products/:id`, that is
 * `/products/export`, an access check at `/products`, or a route with other spelling. The rule does not apply to it.
 *
 * - A rule that ends in a wildcard applies to every path below it.
 * - A rule without parameters is for one URL. It applies to every route that matches this URL in the same spelling.
 * - Any other rule applies to routes of its own form. A route may have a parameter where the rule has text, but not
 *   the reverse.
 *
 * Middlewares at the root count as the whole app. A regular expression may match more paths than the rule.
 */
export function isAnsweredByOtherRoute(pattern: string | undefined, exchange: Exchange): boolean {
  if (pattern === undefined) return false;
  if (!isSpelledAlike(pattern, exchange)) return true;
  const { template, mount, isRouted } = exchange;
  if (isRouted ? template === pattern : mount === undefined) return false;
  const paths = isRouted ? pathsOf(template ?? '', mount ?? '') : [mount ?? ''];
  const isMount = !isRouted || template === mount;
  const rules = formsFor(pattern, exchange.path);
  return !paths.some((path) => {
    const routes = routeForms(isMount ? withoutSlash(path) : path);
    if (!routes) return rules.some((rule) => !rule.some((part) => part.includes(PARAMETER)));
    return rules.some((rule) =>
      routes.some((route) => holds(isMount ? withoutLastSlash(rule) : rule, route, isMount)),
    );
  });
}

/**
 * Whether a rule can hold for the responses of a route, or of a middleware that is mounted at a path. Some paths match
 * both, and the route has the form that the rule was written for. A regular expression may match any path.
 *
 * @param template the full path of the route, or of the mount.
 */
export function canHoldFor(pattern: string, template: string, isMount: boolean): boolean {
  const routes = routeForms(withoutSlash(template));
  const rules = formsOf(pattern);
  if (!routes || !rules) return true;
  return rules.some((rule) =>
    routes.some((route) => holds(isMount ? withoutLastSlash(rule) : rule, route, isMount)),
  );
}

/** The segments of a path in one form: each optional part is present or absent. Parameter names do not count. */
type Form = readonly string[];

const PARAMETER = '\u0001';
const WILDCARD = '\u0002';

/** A limit for patterns with many optional parts. */
const MOST_FORMS = 64;

function holds(rule: Form, route: Form, isMount: boolean): boolean {
  for (let at = 0; ; at++) {
    const wanted = rule[at];
    const actual = route[at];
    if (wanted?.includes(WILDCARD)) return true;
    if (actual?.includes(WILDCARD)) return coversRest(rule, at, at === route.length - 1);
    if (actual === undefined) return wanted === undefined || (isMount && coversRest(rule, at, true));
    if (wanted === undefined) return false;
    if (wanted === actual || actual === PARAMETER) continue;
    // The route has text where the rule has a parameter, or both have different texts.
    if (wanted.includes(PARAMETER) || !actual.includes(PARAMETER)) return false;
  }
}

/**
 * Whether a mount or wildcard that covers every path after the first segments is covered by the rule.
 *
 * @param isAll nothing follows in the path of the route; at the root, it counts as the whole app.
 */
function coversRest(rule: Form, at: number, isAll: boolean): boolean {
  return (at <= 1 && isAll) || rule.every((part) => !part.includes(PARAMETER));
}

/** The template of a route with several paths lists them all. Only the first has the mount as a prefix. */
function pathsOf(template: string, mount: string): string[] {
  const [first = '', ...others] = template.split(' ');
  return [first, ...others.map((path) => mount + path)];
}

/** The forms of a rule's path that a request's path may have. */
function formsFor(pattern: string, path: string): readonly Form[] {
  const length = withoutSlash(path).split('/').length;
  const forms = formsOf(pattern) ?? [];
  return forms.filter(
    (form) => form.some((part) => part.includes(WILDCARD)) || withoutLastSlash(form).length === length,
  );
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function withoutLastSlash(form: Form): Form {
  return form.length > 2 && form.at(-1) === '' ? form.slice(0, -1) : form;
}

/**
 * Patterns come from the config and templates from the routes, so there are few. Mounts may contain URLs, so the map
 * is bounded.
 */
const known = new Map<string, readonly Form[] | undefined>();
const MOST_KNOWN = 1000;

function formsOf(path: string): readonly Form[] | undefined {
  if (known.has(path)) return known.get(path);
  const forms = read(path);
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(path, forms);
  return forms;
}

/** The forms of a route's path; `undefined` for a path without them, such as a regular expression. */
function routeForms(path: string): readonly Form[] | undefined {
  return /[\\^$|]/.test(path.replace(CONSTRAINT, '')) ? undefined : formsOf(path);
}

/** A constraint that Express 4 allows after the name of a parameter: `(\\d+)`. */
const CONSTRAINT = /(?<=:\w+)\((?:\\.|[^\\()])*\)/g;

function read(path: string): readonly Form[] | undefined {
  for (const syntax of [path, fromExpress4(path)]) {
    try {
      const texts = textsOf(parse(syntax).tokens);
      if (texts) return texts.map((text) => text.split('/'));
    } catch {
      // Not valid in this syntax; try the next.
    }
  }
  return undefined;
}

function textsOf(tokens: readonly Token[]): string[] | undefined {
  let texts: string[] = [''];
  for (const token of tokens) {
    const endings =
      token.type === 'group'
        ? [...(textsOf(token.tokens) ?? []), '']
        : [token.type === 'text' ? token.value : token.type === 'param' ? PARAMETER : WILDCARD];
    texts = texts.flatMap((text) => endings.map((ending) => text + ending));
    if (texts.length > MOST_FORMS) return undefined;
  }
  return texts;
}

/**
 * Converts a path of Express 4 to the syntax of Express 5: `/:id(\\d+)`, `/:page?`, `/*`. Other syntax stays and fails
 * to parse.
 */
function fromExpress4(path: string): string {
  return path
    .replace(CONSTRAINT, '')
    .replace(/(\/?):(\w+)([?*+])/g, (_all, slash: string, name: string, repeat: string) => {
      const text = `${slash}${repeat === '?' ? ':' : '*'}${name}`;
      return repeat === '+' ? text : `{${text}}`;
    })
    .replace(/\(\.\*\)/g, '*')
    .replace(/\*(?!\w)/g, '*_');
}

/**
 * Whether a path has the spelling of the rule, if the app distinguishes spellings. Rules of a config match without
 * regard to it.
 */
function isSpelledAlike(pattern: string, { req, path }: Exchange): boolean {
  const sensitive = isEnabled(req, 'case sensitive routing');
  const strict = isEnabled(req, 'strict routing');
  return (!sensitive && !strict) || spellingOf(pattern, sensitive, strict).test(path);
}

const spellings = new Map<string, RegExp>();

function spellingOf(pattern: string, sensitive: boolean, strict: boolean): RegExp {
  const key = `${sensitive} ${strict} ${pattern}`;
  let found = spellings.get(key);
  if (!found) {
    const path = strict || pattern === '/' ? pattern : pattern.replace(/\/+$/, '');
    found = pathToRegexp(path, { sensitive, trailing: !strict }).regexp;
    spellings.set(key, found);
  }
  return found;
}

interface App {
  readonly parent?: App;
  enabled?(setting: string): boolean;
}

/** Whether the app that responds, or one of its parents, has enabled a routing setting. */
function isEnabled(req: object, setting: string): boolean {
  for (let app = (req as { app?: App }).app; app; app = app.parent) {
    if (app.enabled?.(setting)) return true;
  }
  return false;
}
