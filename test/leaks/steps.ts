import type { Random } from './random.js';
import type { AppSpec, Shape } from './spec.js';

/** One step of a plan. */
export type Step =
  | {
      readonly kind: 'batch';
      readonly instance: number;
      readonly shapes: readonly number[];
      /** A request that is sent first and whose client leaves. */
      readonly leaver: number | undefined;
    }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'settle' }
  | {
      readonly kind: 'purge';
      readonly instance: number;
      readonly route: number;
      readonly by: 'all' | 'tag' | 'pattern';
    }
  | { readonly kind: 'expire'; readonly instance: number }
  | { readonly kind: 'write'; readonly instance: number; readonly route: number }
  | { readonly kind: 'fail'; readonly route: number; readonly fails: boolean }
  /** The page goes between two requests, and the first handler responds last. */
  | { readonly kind: 'race'; readonly instance: number; readonly route: number; readonly shape: number }
  | { readonly kind: 'hide'; readonly route: number; readonly isGone: boolean };

/** Makes the steps of a plan: batches of requests, and what happens between them. */
export function makeSteps(random: Random, app: AppSpec, shapes: readonly Shape[], requests: number): Step[] {
  const steps: Step[] = [];
  const routes = app.routes.length;
  const ofRoute = app.routes.map((_, index) =>
    shapes.map((_shape, at) => at).filter((at) => shapes[at]!.route === index),
  );
  for (let sent = 0; sent < requests; ) {
    // Few shapes at once, so that requests collide.
    const pool = Array.from({ length: 1 + random.below(2) }, () => random.below(routes)).flatMap(
      (route) => ofRoute[route]!,
    );
    const few = random.chance(0.5) ? Array.from({ length: 3 }, () => random.pick(pool)) : pool;
    const size = 2 + random.below(random.chance(0.2) ? 60 : 20);
    const batch = Array.from({ length: size }, () => random.pick(few));
    steps.push({
      kind: 'batch',
      instance: random.below(app.instances),
      shapes: batch,
      leaver: random.chance(0.08) ? batch[0] : undefined,
    });
    sent += size;
    if (random.chance(0.3)) sent += addRefresh(random, app, shapes, steps);
    if (random.chance(0.2)) sent += addRace(random, app, shapes, steps);
    if (random.chance(0.6)) steps.push({ kind: 'settle' });
    if (random.chance(0.5))
      steps.push({ kind: 'pass', ms: random.pick([100, 600, 1050, 1050, 2100, 10_000, 61_000]) });
    if (random.chance(0.06)) {
      const by = random.pick(['all', 'tag', 'pattern'] as const);
      steps.push({ kind: 'purge', instance: random.below(app.instances), route: random.below(routes), by });
    }
    if (random.chance(0.02)) steps.push({ kind: 'expire', instance: random.below(app.instances) });
    if (random.chance(0.03)) {
      steps.push({ kind: 'write', instance: random.below(app.instances), route: random.below(routes) });
    }
    if (random.chance(0.05))
      steps.push({ kind: 'fail', route: random.below(routes), fails: random.chance(0.4) });
    if (random.chance(0.05))
      steps.push({ kind: 'hide', route: random.below(routes), isGone: random.chance(0.5) });
  }
  return steps;
}

/** Stores a response, lets it become stale, has another client cause its refresh, and asks for the result. */
function addRefresh(random: Random, app: AppSpec, shapes: readonly Shape[], steps: Step[]): number {
  const focused = app.routes.flatMap(({ focus }, index) => (focus ? [index] : []));
  const route = focused.length > 0 ? random.pick(focused) : random.below(app.routes.length);
  const those = [...shapes.keys()].filter((at) => shapes[at]!.route === route);
  const first = random.pick(those);
  const ofTarget = those.filter((at) => shapes[at]!.wire.target === shapes[first]!.wire.target);
  const other = random.pick(ofTarget);
  const instance = random.below(app.instances);
  const send = (shape: number) =>
    void steps.push({ kind: 'batch', instance, shapes: [shape], leaver: undefined });
  send(first);
  steps.push({ kind: 'pass', ms: app.routes[route]!.ttl * 1000 + 50 });
  send(other);
  steps.push({ kind: 'settle' });
  send(first);
  return 3;
}

/** Lets the page of the route with the focus `end` go while a handler runs. */
function addRace(random: Random, app: AppSpec, shapes: readonly Shape[], steps: Step[]): number {
  const route = app.routes.findIndex(({ focus }) => focus === 'end');
  const isPlain = ({ wire }: Shape) => wire.method === 'GET' && wire.headers.length === 1;
  const shape = shapes.findIndex((each) => each.route === route && isPlain(each));
  // The end of a response on one instance is no end on another.
  if (shape < 0 || app.redis) return 0;
  steps.push({ kind: 'race', instance: random.below(app.instances), route, shape });
  return 3;
}
