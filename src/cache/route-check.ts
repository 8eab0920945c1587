import type { Exchange } from '../exchange/exchange.js';

/**
 * Whether the route that answers is another than the one that a rule was written for: `/products/export`
 * under a rule for `/products/:id`. It is, when it spells out what the rule leaves to a parameter, or spells
 * something else than the rule does: something between us and the route has then rewritten the URL.
 */
export function isOtherRoute(pattern: string | undefined, exchange: Exchange): boolean {
  const template = pattern === undefined ? undefined : (exchange.template ?? exchange.mount);
  if (pattern === undefined || template === undefined || template === pattern) return false;
  // A route of several paths has them all in its template, the mount before the first alone.
  const [first = '', ...others] = template.split(' ');
  if (others.length === 0) return spellsOut(pattern, first);
  const mount = exchange.mount ?? '';
  return spellsOut(pattern, first) && others.every((path) => spellsOut(pattern, mount + path));
}

/** A segment that means itself, in every syntax of paths there is. */
const LITERAL = /^[\w~-]+$/;

export function spellsOut(pattern: string, template: string): boolean {
  const wanted = pattern.split('/');
  const actual = template.split('/');
  for (let i = 0; i < wanted.length && i < actual.length; i++) {
    const rule = wanted[i]!;
    const route = actual[i]!;
    // From a wildcard or an optional part on, segments no longer face each other.
    if (/[*{]/.test(rule) || /[*{(]/.test(route)) return false;
    if (rule.includes(':') && route !== '' && !route.includes(':')) return true;
    if (LITERAL.test(rule) && LITERAL.test(route) && rule.toLowerCase() !== route.toLowerCase()) return true;
  }
  return false;
}
