import { Random } from './random.js';
import type { AppSpec, RouteSpec } from './spec.js';

/** Lets some routes ignore cookies, or share entries among hosts. Its choices are its own, so that plans stay as they were. */
export function relaxed(app: AppSpec): AppSpec {
  const random = new Random(app.seed + 0x5bd1e995);
  const routes = app.routes.map((route): RouteSpec => {
    const { placement, declaration, byRule, inputs } = route;
    const isKeyedByCookie = declaration === 'rule-cookies' || byRule.includes('theme');
    const mayIgnore = placement !== 'none' && declaration !== 'partition' && !isKeyedByCookie;
    const mayShare = placement !== 'none' && !inputs.includes('host') && !inputs.includes('range');
    const ignoresCookies = random.chance(0.4) && mayIgnore;
    const sharesHost = random.chance(0.3) && mayShare;
    return { ...route, ignoresCookies, sharesHost };
  });
  return { ...app, routes };
}
