/**
 * Makes an element. Properties are set as properties and children as text or nodes: what a server says never
 * becomes markup.
 */
export function element(name, properties = {}, ...children) {
  const { data, ...rest } = properties;
  const node = Object.assign(document.createElement(name), rest);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Adds a line to a list, and drops the oldest beyond `most`. */
export function addLine(list, most, ...children) {
  const line = element('li', {}, ...children);
  list.append(line);
  while (list.children.length > most) list.firstElementChild.remove();
  return line;
}

/** Runs a task while its button can't be pressed again. */
export async function whileBusy(button, task) {
  if (button.disabled) return;
  button.disabled = true;
  button.setAttribute('aria-busy', 'true');
  try {
    await task();
  } finally {
    button.disabled = false;
    button.removeAttribute('aria-busy');
  }
}

/** A coloured word for what the cache did. */
export function cacheChip(xCache) {
  const word = xCache ?? 'none';
  return element('span', { className: 'chip', textContent: word, data: { state: word.toLowerCase() } });
}
