import type { Leak, Outcome } from './run.js';
import type { Plan } from './spec.js';
import type { Step } from './steps.js';

/** The maximum number of runs per plan. */
const MOST_RUNS = 60;

/**
 * Leaves out steps, and requests of steps, for as long as a leak of the same kind is found in the same route.
 * Responses depend on what runs at the same time, so the result may need some attempts to fail again.
 */
export async function shrink(plan: Plan, leak: Leak, run: (plan: Plan) => Promise<Outcome>): Promise<Plan> {
  // Each attempt would take long.
  if (leak.kind === 'unanswered') return plan;
  const route = plan.shapes[leak.shape]!.route;
  let runs = 0;
  const fails = async (steps: readonly Step[]) => {
    if (runs >= MOST_RUNS) return false;
    runs++;
    const { leaks } = await run({ ...plan, steps });
    return leaks.some(({ kind, shape }) => kind === leak.kind && plan.shapes[shape]!.route === route);
  };
  let steps: readonly Step[] = plan.steps.slice(0, leak.step + 1);
  const ofRoute = steps.map((step) => onlyRoute(plan, step, route)).filter((step) => step !== undefined);
  if (await fails(ofRoute)) steps = ofRoute;
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < steps.length; ) {
      const fewer = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (fewer.length > 0 && (await fails(fewer))) steps = fewer;
      else at += size;
    }
  }
  for (const [at, step] of steps.entries()) {
    if (step.kind !== 'batch') continue;
    let { shapes } = step;
    for (let index = 0; index < shapes.length && shapes.length > 1; ) {
      const fewer = shapes.filter((_shape, other) => other !== index);
      const with_ = steps.map((each, other): Step => (other === at ? { ...step, shapes: fewer } : each));
      if (await fails(with_)) {
        shapes = fewer;
        steps = with_;
      } else index++;
    }
  }
  return { ...plan, steps };
}

function onlyRoute(plan: Plan, step: Step, route: number): Step | undefined {
  if ('route' in step) return step.route === route ? step : undefined;
  if (step.kind !== 'batch') return step;
  const shapes = step.shapes.filter((shape) => plan.shapes[shape]!.route === route);
  return shapes.length > 0 ? { ...step, shapes } : undefined;
}

/** The description of a leak for a person. */
export function describePlan(plan: Plan, leak: Leak): string {
  const { shapes, steps, app } = plan;
  const shape = shapes[leak.shape]!;
  const { routes, ...common } = app;
  const lines = steps.map((step) => {
    if (step.kind !== 'batch') return JSON.stringify(step);
    const requests = step.shapes.map((at) => {
      const { client, wire } = shapes[at]!;
      const { method, target, headers, body } = wire;
      const from = `${client.user ?? 'anonymous'}${client.isCertified ? ' (certificate)' : ''}`;
      const fields = headers.map(([name, value]) => `${name}: ${value}`).join(' | ');
      return `  ${from}: ${method} ${target} ${fields}${body === undefined ? '' : ` body=${body}`}`;
    });
    return [`at once, to instance ${step.instance}:`, ...requests].join('\n');
  });
  return [
    `leak of the kind ${leak.kind}; run it again with LEAK_SEED=${app.seed} npm run test:leaks`,
    `app: ${JSON.stringify(common)}`,
    `route: ${JSON.stringify(routes[shape.route])}`,
    ...lines,
    `expected: ${leak.expected}`,
    `got: ${leak.got}`,
  ].join('\n');
}
