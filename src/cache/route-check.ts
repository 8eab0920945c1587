import type { Exchange } from '../exchange/exchange.js';

/**
 * Whether the route that answers is another than the one that a rule was written for: `/products/export`
 * under a rule for `/products/:id`. It is, when it spells out what the rule leaves to a parameter.
 */
export function isOtherRoute(pattern: string | undefined, exchange: Exchange): boolean {
  const template = pattern === undefined ? undefined : (exchange.template ?? exchange.mount);
  return pattern !== undefined && template !== undefined && spellsOut(pattern, template);
}

export function spellsOut(pattern: string, template: string): boolean {
  const wanted = pattern.split('/');
  const actual = template.split('/');
  for (let i = 0; i < wanted.length && i < actual.length; i++) {
    const rule = wanted[i]!;
    const route = actual[i]!;
    // From a wildcard or an optional part on, segments no longer face each other.
    if (/[*{]/.test(rule) || /[*{(]/.test(route)) return false;
    if (rule.includes(':') && route !== '' && !route.includes(':')) return true;
  }
  return false;
}
