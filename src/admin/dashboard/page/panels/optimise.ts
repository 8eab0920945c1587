import type { OptimizeReport } from '../../../performance-api/optimize.js';
import { explainFailure, postToApi } from '../client.js';
import { byId, make, setShown } from '../dom.js';
import { showCount, showDuration } from '../format.js';

/** The button that does what is safe, and says what it did. */
export class OptimiseButton {
  readonly #button = byId<HTMLButtonElement>('optimise');
  readonly #result = byId('optimise-result');

  constructor(permitsChanges: boolean) {
    this.#button.disabled = !permitsChanges;
    this.#button.title = permitsChanges
      ? 'Runs critical warming tasks, and encodes entries in demand with the strongest coding'
      : 'A key opens figures alone';
    setShown(byId('optimise-hint'), !permitsChanges);
    this.#button.addEventListener('click', () => void this.#run());
  }

  async #run(): Promise<void> {
    this.#button.disabled = true;
    this.#say('Working…');
    try {
      this.#say(...describeOptimised((await postToApi('/optimize', {})) as OptimizeReport));
    } catch (error) {
      this.#say(`Nothing was changed: ${explainFailure(error)}`);
    }
    this.#button.disabled = false;
  }

  #say(...lines: readonly string[]): void {
    this.#result.hidden = false;
    this.#result.replaceChildren(...lines.map((line) => make('p', '', line)));
  }
}

function describeOptimised({ warming, encodings, advice }: OptimizeReport): string[] {
  const lines = warming.map(({ name, state, error, seconds }) =>
    state === 'failed'
      ? `Warming: ${name} failed: ${error ?? 'its error is in the log'}.`
      : `Warming: ${name} ${state} after ${showDuration(seconds)}.`,
  );
  if (lines.length === 0) lines.push('Warming: there is no critical task.');
  if (!encodings) lines.push('Compression: the cache is off.');
  else if (encodings.queued > 0)
    lines.push(
      `Compression: ${showCount(encodings.queued)} entries get their smallest Brotli form in idle time.`,
    );
  else
    lines.push(
      `Compression: ${showCount(encodings.strongest)} entries have their smallest Brotli form already.`,
    );
  if (advice.length > 0) lines.push('The advice below needs your decision.');
  return lines;
}
