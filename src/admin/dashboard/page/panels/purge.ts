import type { KeyList } from '../../../../cache/explain/key-list.js';
import type { PurgeResult } from '../../../../cache/index.js';
import { explainFailure, postToApi } from '../client.js';
import { byId, make, setShown, setText } from '../dom.js';
import { showBytes, showCount } from '../format.js';

/** The response of `POST /cache/preview`. */
interface Preview {
  readonly count: number;
  readonly bytes: number;
  readonly complete: boolean;
  readonly keys: KeyList['keys'];
}

const EXAMPLES: Readonly<Record<string, string>> = {
  tag: 'products',
  url: '/api/products?page=2',
  pattern: '/api/products/:id',
};

/** Purges and expires entries, after a preview of those that match. */
export class PurgeForm {
  readonly #permitsChanges: boolean;
  readonly #kind = byId<HTMLSelectElement>('purge-kind');
  readonly #value = byId<HTMLInputElement>('purge-value');
  readonly #preview = byId('purge-preview');
  readonly #urls = byId('purge-urls');
  readonly #result = byId('purge-result');
  readonly #buttons = {
    purge: byId<HTMLButtonElement>('purge-run'),
    expire: byId<HTMLButtonElement>('expire-run'),
  };
  /** That of the preview: what is purged is what was shown. */
  #selector: object | undefined;

  constructor(permitsChanges: boolean) {
    this.#permitsChanges = permitsChanges;
    byId<HTMLFormElement>('purge').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#look();
    });
    this.#kind.addEventListener('change', () => this.#forget());
    this.#value.addEventListener('input', () => this.#forget());
    this.#buttons.purge.addEventListener('click', () => void this.#change('purge'));
    this.#buttons.expire.addEventListener('click', () => void this.#change('expire'));
    this.#forget();
  }

  #forget(): void {
    this.#selector = undefined;
    this.#value.placeholder = EXAMPLES[this.#kind.value] ?? '';
    setText(this.#preview, '');
    this.#urls.replaceChildren();
    setShown(this.#result, false);
    this.#enable();
  }

  #enable(): void {
    for (const button of Object.values(this.#buttons))
      button.disabled = this.#selector === undefined || !this.#permitsChanges;
  }

  async #look(): Promise<void> {
    const selector = { [this.#kind.value]: this.#value.value.trim() };
    try {
      const { count, bytes, complete, keys } = (await postToApi('/cache/preview', selector)) as Preview;
      const least = complete ? '' : 'at least ';
      const entries = count === 1 ? '1 entry' : `${showCount(count)} entries`;
      const closed = this.#permitsChanges ? '' : ' A key opens figures alone: set `authorize` to purge.';
      setText(
        this.#preview,
        `Matches ${least}${entries} (${showBytes(bytes)}) in the memory of this instance.${closed}`,
      );
      const shown = keys.map(({ url }) => make('li', '', url));
      if (count > keys.length) shown.push(make('li', 'hint', `and ${showCount(count - keys.length)} more`));
      this.#urls.replaceChildren(...shown);
      this.#selector = selector;
    } catch (error) {
      this.#selector = undefined;
      setText(this.#preview, explainFailure(error));
      this.#urls.replaceChildren();
    }
    this.#enable();
  }

  async #change(kind: 'purge' | 'expire'): Promise<void> {
    const selector = this.#selector;
    if (!selector) return;
    const word = kind === 'purge' ? 'Purged' : 'Expired';
    try {
      const { acknowledged } = (await postToApi(`/cache/${kind}`, selector)) as PurgeResult;
      this.#forget();
      const reach = acknowledged
        ? 'on every instance'
        : 'here; the other instances follow when Redis can be reached again';
      setText(this.#result, `${word} ${reach}.`);
    } catch (error) {
      setText(this.#result, `Nothing was changed: ${explainFailure(error)}`);
    }
    setShown(this.#result, true);
  }
}
