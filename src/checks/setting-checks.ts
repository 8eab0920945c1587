import { isDeepStrictEqual } from 'node:util';
import { routerOf } from '../exchange/router-layer.js';
import { warn } from '../runtime/warn.js';
import type { AppLayer, AppRouter, CheckedApp } from './app-layers.js';

/**
 * Warns of settings that Express read when its router was made, at the first `app.use`, and that the app changed
 * afterwards: they have no effect.
 */
export function warnOfLateSettings(app: CheckedApp): void {
  const router = routerOf(app);
  if (!router) return;
  const late = [
    ...lateSwitch(app, 'case sensitive routing', router.caseSensitive),
    ...lateSwitch(app, 'strict routing', router.strict),
    ...(hasLateQueryParser(app, router) ? ['query parser'] : []),
  ];
  for (const setting of late) {
    warn(
      'HOTPATH_SETTING_LATE',
      `app.set('${setting}', …) has no effect: Express reads it at the first app.use(), which came before; ` +
        'set it before app.use(hotpath())',
    );
  }
}

function lateSwitch(app: CheckedApp, setting: string, isOn: boolean | undefined): string[] {
  return isOn !== undefined && isOn !== app.enabled(setting) ? [setting] : [];
}

type QueryHandle = (req: object, res: object, next: () => void) => void;

/** Two queries that the parsers of Express, `simple` and `extended`, read differently. */
const SAMPLE = 'a[b]=1&c=2&c=3';

/** Only Express 4 has a layer that parses queries, with the parser of that time. */
function hasLateQueryParser(app: CheckedApp, { stack = [] }: AppRouter): boolean {
  const layer = stack.find((each: AppLayer) => each.name === 'query');
  if (!layer) return false;
  try {
    const req: { url: string; query?: unknown } = { url: `/?${SAMPLE}` };
    (layer.handle as unknown as QueryHandle)(req, {}, () => {});
    const parse = app.get('query parser fn');
    const now = typeof parse === 'function' ? parse(SAMPLE) : {};
    return !isDeepStrictEqual({ ...(req.query as object) }, { ...now });
  } catch {
    return false; // a parser of the app that accepts other queries only
  }
}
