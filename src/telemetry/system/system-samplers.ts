import { type HostFigures, HostSampler, type HostSources } from './host-sampler.js';
import { type ProcessFigures, ProcessSampler } from './process-sampler.js';
import { type Sampler, SharedSampler } from './shared-sampler.js';

/** Half of the five seconds after which each instance reads. */
const LEAST_WINDOW_MS = 2_500;

const ofProcess = new SharedSampler<ProcessFigures>(() => new ProcessSampler(), LEAST_WINDOW_MS);
const ofHosts = new Map<string, SharedSampler<Promise<HostFigures>>>();

/** Figures of this process. */
export function openProcessSampler(): Sampler<ProcessFigures> {
  return ofProcess.open();
}

/** Figures of the machine, read below these paths. */
export function openHostSampler(sources: HostSources): Sampler<Promise<HostFigures>> {
  const name = JSON.stringify(sources);
  for (const [other, { isIdle }] of ofHosts) if (isIdle && other !== name) ofHosts.delete(other);
  const shared = ofHosts.get(name) ?? new SharedSampler(() => new HostSampler(sources), LEAST_WINDOW_MS);
  ofHosts.set(name, shared);
  return shared.open();
}
