import { distance } from 'fastest-levenshtein';
import { canHoldFor } from '../cache/fill/matched-route.js';
import { warn } from '../runtime/warn.js';
import type { AppEndpoints, Endpoint } from './app-layers.js';

/** Warns of each rule that no route of the app can match. */
export function warnOfUnmatchedRules(patterns: readonly string[], app: AppEndpoints): void {
  // The routes behind it are unknown.
  if (app.hasCatchAll) return;
  for (const pattern of patterns) {
    if (app.endpoints.some((endpoint) => canRespond(endpoint, pattern))) continue;
    const meant = findMeant(
      pattern,
      app.endpoints.map(({ template }) => template),
    );
    // A handler at the root may respond to the path, unless the rule is a spelling of a route.
    if (!meant && app.mayHaveCatchAll) continue;
    const remedy = meant
      ? `did you mean ${JSON.stringify(meant)}?`
      : `correct its path, or remove it. The paths of the app: ${listOf(app)}`;
    warn(
      'HOTPATH_RULE_UNMATCHED',
      `routes[${JSON.stringify(pattern)}] has no effect: no route of the app has this path. ` +
        `The path of a rule is the full path of the request, including the paths of mounts; ${remedy}`,
    );
  }
}

function canRespond({ template, isMount, isSubApp }: Endpoint, pattern: string): boolean {
  if (!isSubApp) return canHoldFor(pattern, template, isMount);
  return pattern.startsWith('/*') || `${neutral(pattern)}/`.startsWith(`${neutral(template)}/`);
}

/** The route that a rule was probably written for. */
function findMeant(pattern: string, templates: readonly string[]): string | undefined {
  const rule = neutral(pattern);
  const byEnd = templates.find((template) => {
    const route = neutral(template);
    return rule.length > 1 && route.length > 1 && (route.endsWith(rule) || rule.endsWith(route));
  });
  if (byEnd !== undefined) return byEnd;
  const nearest = templates
    .map((template) => ({ template, edits: distance(rule, neutral(template)) }))
    .sort((a, b) => a.edits - b.edits)[0];
  const most = Math.max(2, Math.floor(rule.length / 5));
  return nearest && rule.length > 3 && nearest.edits <= most ? nearest.template : undefined;
}

/** A path without differences that are no mistake: case, names of parameters, a slash at the end. */
function neutral(path: string): string {
  return path
    .toLowerCase()
    .replace(/:\w+/g, ':')
    .replace(/(.)\/+$/, '$1');
}

const MOST_LISTED = 10;

function listOf({ endpoints }: AppEndpoints): string {
  const paths = [...new Set(endpoints.map(({ template }) => template))];
  const more = paths.length > MOST_LISTED ? ', …' : '';
  return paths.length === 0 ? 'none' : paths.slice(0, MOST_LISTED).join(', ') + more;
}
