import type { AdviceItem } from '../../../../telemetry/advice.js';
import type { Shown } from '../answers.js';
import { appendProse, byId, KeyedList, make, setShown, setText } from '../dom.js';
import { showDuration, showShare } from '../format.js';
import { configLine } from './config-line.js';
import { OptimiseButton } from './optimise.js';
import { routeName, shareRoutes } from './time-shares.js';

/** Pieces of advice that are shown at first. */
const FIRST = 2;

const SEVERITY_WORDS = { critical: 'Critical', warning: 'Warning', info: 'Idea' } as const;

/** The next steps in words, with the config to copy. */
export class NextStepPanel {
  readonly #list = new KeyedList<AdviceItem>(
    byId('advice'),
    ({ id, route, text }) => `${id} ${route ?? text}`,
    () => adviceView(),
  );
  readonly #more = byId('advice-more');
  #isOpen = false;
  #shown: Shown = {};

  constructor(permitsChanges: boolean) {
    new OptimiseButton(permitsChanges);
    this.#more.addEventListener('click', () => {
      this.#isOpen = !this.#isOpen;
      this.show(this.#shown);
    });
  }

  show(shown: Shown): void {
    this.#shown = shown;
    const { advice, api } = shown;
    if (!advice) return;
    const list = advice.length > 0 ? advice : [adviseNothing(api?.volatile.routes ?? [])];
    this.#list.show(this.#isOpen ? list : list.slice(0, FIRST));
    const rest = list.length - FIRST;
    setShown(this.#more, rest > 0);
    this.#more.setAttribute('aria-expanded', String(this.#isOpen));
    setText(this.#more, this.#isOpen ? 'Show less' : `${rest} more`);
  }
}

function adviceView() {
  const mark = make('span', 'mark-word');
  const text = make('p', 'advice-text');
  const node = make('li', '', mark, text);
  let written = '';
  return {
    node,
    update: ({ severity, text: words, config }: AdviceItem) => {
      setText(mark, severity === 'info' && config === undefined ? 'Fine' : SEVERITY_WORDS[severity]);
      node.dataset.severity = severity;
      if (`${words}${config}` === written) return;
      written = `${words}${config}`;
      text.replaceChildren();
      writeAdvice(text, words);
      node.querySelector('.config')?.remove();
      if (config !== undefined) node.append(configLine(config));
    },
  };
}

/** The subject before the first colon stands out. */
export function writeAdvice(parent: Element, words: string): void {
  const subject = /^(?:[A-Z]+ )?\/\S*?(?=: )/.exec(words)?.[0] ?? '';
  if (subject !== '') parent.append(make('strong', '', subject));
  appendProse(parent, words.slice(subject.length));
}

function adviseNothing(routes: Parameters<typeof shareRoutes>[0]): AdviceItem {
  const [first] = shareRoutes(routes);
  const most = first
    ? ` Most of the time goes to ${routeName(first.route)} (${showShare(first.share)}, p95 ${showDuration(first.figures.total.p95)}).`
    : '';
  return { id: 'nothing', severity: 'info', text: `Nothing in the figures calls for a change.${most}` };
}
