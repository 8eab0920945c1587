import type { EncodingUpgrades } from '../../cache/index.js';
import type { AdviceItem } from '../../telemetry/advice.js';
import type { WarmingResult } from '../../warming/task.js';
import type { ObservedHotpath } from '../options.js';

/** The response of `POST /optimize`. */
export interface OptimizeReport {
  /** The critical tasks that ran. */
  readonly warming: readonly WarmingResult[];
  /** `null`: the cache is off. */
  readonly encodings: EncodingUpgrades | null;
  /** Each needs a decision. */
  readonly advice: readonly AdviceItem[];
}

/** Does what is safe for every app: no response changes, and nothing is stored that the app did not declare. */
export async function optimize({
  cache,
  config,
  telemetry,
  warming,
}: ObservedHotpath): Promise<OptimizeReport> {
  // First, because warming may fail.
  const encodings = config.cache ? cache.upgradeEncodings() : null;
  const critical = warming.tasks().filter((task) => task.critical);
  const results = await Promise.all(critical.map(({ name }) => warming.run(name)));
  return { warming: results.flat(), encodings, advice: telemetry.advice() };
}
