import type { PerformanceApiSettings } from '../options.js';

/** One address of the API. */
export interface Resource {
  readonly methods: readonly string[];
  readonly action: 'read' | 'change';
  read(query: URLSearchParams): unknown;
}

/** The resources by their path below the mount. */
export function makeResources({ perf }: PerformanceApiSettings): ReadonlyMap<string, Resource> {
  const { telemetry } = perf;
  const figures = (read: () => unknown): Resource => ({ methods: ['GET'], action: 'read', read });
  return new Map([
    ['/', figures(() => ({ resources: ['/system', '/api', '/cache', '/instances', '/advice'] }))],
    ['/system', figures(() => telemetry.system())],
    ['/api', figures(() => telemetry.routes().slice(0, 50))],
    ['/cache', figures(() => telemetry.cache())],
    ['/instances', figures(() => telemetry.instances())],
    ['/advice', figures(() => ({ advice: telemetry.advice() }))],
  ]);
}
