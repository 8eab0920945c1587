import { make, setText } from '../dom.js';

/** Milliseconds until the button says again what it does. */
const SAID_FOR = 2000;

/** A piece of the config, with a button that copies it. */
export function configLine(config: string): HTMLElement {
  const code = make('code', '', config);
  const button = make('button', 'button small', 'Copy');
  button.type = 'button';
  button.setAttribute('aria-label', 'Copy the config line');
  const said = make('span', 'unseen');
  said.setAttribute('role', 'status');
  button.addEventListener('click', () => {
    void copy(config, code).then((isCopied) => {
      setText(button, isCopied ? 'Copied' : 'Selected');
      setText(said, isCopied ? 'Copied' : 'Selected: copy it with the keyboard');
      window.setTimeout(() => {
        setText(button, 'Copy');
        setText(said, '');
      }, SAID_FOR);
    });
  });
  return make('div', 'config', make('pre', '', code), button, said);
}

/** The clipboard is closed to pages without TLS, except on localhost: there the text is selected. */
async function copy(text: string, node: Node): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(node);
    return false;
  }
}
