import { parse, pathToRegexp, type Token } from 'path-to-regexp';
import type { Exchange } from '../../exchange/exchange.js';

/**
 * Whether the route that answers is another than the one that a rule was written for: `/products/export` under a rule
 * for `/products/:id`, a gate at `/products`, a route whose spelling differs. A rule says nothing of their responses.
 *
 * - A rule that ends in a wildcard is for all that is beneath its path.
 * - A rule without parameters is for one URL, so it holds for whatever answers that, but not in another spelling.
 * - Any other rule is for routes of its own form. A parameter may stand where the rule has text, not the other way round.
 *
 * Nothing is known of what is mounted at the root, nor of a regular expression; the former is taken for the whole app,
 * the latter may answer for more than the rule says.
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

/** The segments of a path in one of its forms, optional parts taken or left; names do not count. */
type Form = readonly string[];

const PARAMETER = '\u0001';
const WILDCARD = '\u0002';

/** More optional parts than any honest path has. */
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
    // What the rule leaves to a parameter is spelled out, or both are spelled and differ.
    if (wanted.includes(PARAMETER) || !actual.includes(PARAMETER)) return false;
  }
}

/**
 * Whether what answers everything beneath the first segments is what the rule was written for.
 *
 * @param isAll there is nothing more to its path; at the root it is then taken for the whole app.
 */
function coversRest(rule: Form, at: number, isAll: boolean): boolean {
  return (at <= 1 && isAll) || rule.every((part) => !part.includes(PARAMETER));
}

/** A route of several paths has them all in its template, the mount before the first alone. */
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

/** Patterns are those of the config and templates those of the app's routes, so there are few; mounts may show URLs. */
const known = new Map<string, readonly Form[] | undefined>();
const MOST_KNOWN = 1000;

function formsOf(path: string): readonly Form[] | undefined {
  if (known.has(path)) return known.get(path);
  const forms = read(path);
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(path, forms);
  return forms;
}

/** The forms of a route's path; `undefined` for what is no path of names, such as a regular expression. */
function routeForms(path: string): readonly Form[] | undefined {
  return /[\\^$|]/.test(path.replace(CONSTRAINT, '')) ? undefined : formsOf(path);
}

/** What Express 4 allows after the name of a parameter: `(\\d+)`. */
const CONSTRAINT = /(?<=:\w+)\((?:\\.|[^\\()])*\)/g;

function read(path: string): readonly Form[] | undefined {
  for (const syntax of [path, fromExpress4(path)]) {
    try {
      const texts = textsOf(parse(syntax).tokens);
      if (texts) return texts.map((text) => text.split('/'));
    } catch {
      // in the other syntax, perhaps
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

/** A path of Express 4 in the syntax of Express 5: `/:id(\\d+)`, `/:page?`, `/*`. What it can't be written in stays, and fails. */
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

/** Whether a path is spelled as the rule is, where the app tells spellings apart. The rules of a config never do. */
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

/** Whether the app that answers, or one around it, has a setting of routing. */
function isEnabled(req: object, setting: string): boolean {
  for (let app = (req as { app?: App }).app; app; app = app.parent) {
    if (app.enabled?.(setting)) return true;
  }
  return false;
}
