import { explainFailure, postToApi } from '../client.js';
import { byId, make, setText } from '../dom.js';

/** The response of `POST /optimize`. */
interface Optimised {
  readonly warming:
    | readonly { readonly name: string; readonly success: boolean; readonly error?: string }[]
    | null;
  readonly encodings: { readonly queued: number; readonly strongest: number } | null;
  readonly advice: readonly unknown[];
}

/** The button that does what is safe, and says what it did. */
export class OptimiseButton {
  readonly #button = byId<HTMLButtonElement>('optimise');
  readonly #result = byId('optimise-result');

  constructor(permitsChanges: boolean) {
    this.#button.disabled = !permitsChanges;
    this.#button.title = permitsChanges
      ? 'Runs critical warming tasks, and encodes entries in demand with the strongest coding'
      : 'A key opens figures alone. To change something, set `authorize`.';
    this.#button.addEventListener('click', () => void this.#run());
  }

  async #run(): Promise<void> {
    this.#button.disabled = true;
    this.#say('Working…');
    try {
      this.#say(...describeOptimised((await postToApi('/optimize', {})) as Optimised));
    } catch (error) {
      this.#say(`Nothing was changed: ${explainFailure(error)}`);
    }
    this.#button.disabled = false;
  }

  #say(...lines: readonly string[]): void {
    this.#result.hidden = false;
    this.#result.replaceChildren(...lines.map((line) => make('p', '', line)));
    setText(this.#button, 'Optimise now');
  }
}

function describeOptimised({ warming, encodings, advice }: Optimised): string[] {
  const lines: string[] = [];
  if (!warming || warming.length === 0) lines.push('Warming: there is no critical task.');
  for (const { name, success, error } of warming ?? [])
    lines.push(success ? `Warmed: ${name}.` : `Warming of ${name} failed: ${error ?? 'see the log'}.`);
  if (!encodings) lines.push('Compression: the cache is off.');
  else if (encodings.queued > 0)
    lines.push(`Compression: ${encodings.queued} entries in demand are encoded with Brotli 11 in idle time.`);
  else lines.push(`Compression: all ${encodings.strongest} entries in demand have their smallest form.`);
  if (advice.length > 0) lines.push('The advice below needs your decision.');
  return lines;
}
