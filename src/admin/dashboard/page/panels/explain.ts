import type { CacheExplanation } from '../../../../cache/explain/types.js';
import { explainFailure, postToApi } from '../client.js';
import { appendProse, byId, make, setText } from '../dom.js';
import { showBytes, showDuration } from '../format.js';
import { explainReason } from './reasons.js';

/** The explanation as JSON has it. */
type Explained = Pick<
  CacheExplanation,
  'result' | 'possible' | 'pattern' | 'key' | 'entry' | 'obstacles' | 'cacheStatus'
>;

/** Says what the cache would do with a request. */
export class ExplainForm {
  readonly #url = byId<HTMLInputElement>('explain-url');
  readonly #result = byId('explain-result');

  constructor() {
    byId<HTMLFormElement>('explain').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#explain();
    });
  }

  async #explain(): Promise<void> {
    const given = this.#url.value.trim();
    // The key has the host: a path is explained for the host of this page.
    const url = given.startsWith('/') ? location.origin + given : given;
    try {
      this.#show((await postToApi('/cache/explain', { url })) as Explained);
    } catch (error) {
      setText(this.#result, explainFailure(error));
    }
  }

  #show({ result, possible, pattern, key, entry, obstacles, cacheStatus }: Explained): void {
    const facts: [name: string, value: string][] = [['Rule', pattern ?? 'none matches the path']];
    if (key) facts.push(['Key', key.url]);
    if (entry) {
      const left = entry.ttl === undefined ? '' : `, fresh for ${showDuration(Math.max(0, entry.ttl))}`;
      facts.push(['Entry', `${entry.use}, ${showDuration(entry.age)} old${left}, ${showBytes(entry.bytes)}`]);
      if (entry.tags.length > 0) facts.push(['Tags', entry.tags.join(', ')]);
      const forms = Object.entries(entry.encodings).map(([coding, bytes]) => `${coding} ${showBytes(bytes)}`);
      if (forms.length > 0) facts.push(['Encoded', forms.join(', ')]);
    }
    if (cacheStatus !== undefined) facts.push(['Cache-Status', cacheStatus]);
    const list = make(
      'dl',
      'facts',
      ...facts.map(([name, value]) => make('div', '', make('dt', '', name), make('dd', '', value))),
    );
    const reasons = obstacles.map(({ reason }) => {
      const item = make('li', '', make('strong', '', reason), ' ');
      appendProse(item, explainReason(reason));
      return item;
    });
    const outcome = result ?? (possible.length > 0 ? possible.join(' or ') : 'The cache takes no part');
    this.#result.replaceChildren(make('p', 'outcome', outcome), list, make('ul', 'obstacles', ...reasons));
  }
}
