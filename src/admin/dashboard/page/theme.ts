import { byId, setText } from './dom.js';

const THEMES = ['system', 'light', 'dark'] as const;
const STORED = 'hotpath-theme';

/** The button that changes between the theme of the system, light and dark. */
export class ThemeButton {
  /** Colours have changed. */
  onChange: () => void = () => undefined;
  readonly #button = byId('theme');
  #theme: (typeof THEMES)[number] = 'system';

  constructor() {
    const stored = storage()?.getItem(STORED);
    this.#theme = THEMES.find((theme) => theme === stored) ?? 'system';
    this.#apply();
    this.#button.addEventListener('click', () => {
      this.#theme = THEMES[(THEMES.indexOf(this.#theme) + 1) % THEMES.length]!;
      storage()?.setItem(STORED, this.#theme);
      this.#apply();
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.onChange());
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.#theme;
    setText(this.#button, `Theme: ${this.#theme}`);
    this.onChange();
  }
}

/** A browser may refuse it. */
function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}
