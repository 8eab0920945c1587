/** An element of the page by its id. @throws TypeError if the page has none. */
export function byId<E extends Element = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new TypeError(`the page has no element "${id}"`);
  return found as unknown as E;
}

/** Writes a text, unless it is there already: an unchanged page costs no layout, and screen readers stay quiet. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute, unless it is set already. */
export function setAttribute(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Shows or hides an element. */
export function setShown(element: HTMLElement, isShown: boolean): void {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Makes an element. Children that are strings become text, never markup. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className = '',
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...children);
  return element;
}

/** A node of a list, and how it shows another item. */
export interface ItemView<Item> {
  readonly node: Element;
  update(item: Item): void;
}

/** Shows a list in an element. Nodes are kept by key, so that focus, selection and open details stay. */
export class KeyedList<Item> {
  readonly #parent: Element;
  readonly #keyOf: (item: Item) => string;
  readonly #create: (item: Item) => ItemView<Item>;
  #views = new Map<string, ItemView<Item>>();

  constructor(parent: Element, keyOf: (item: Item) => string, create: (item: Item) => ItemView<Item>) {
    this.#parent = parent;
    this.#keyOf = keyOf;
    this.#create = create;
  }

  show(items: readonly Item[]): void {
    const views = new Map<string, ItemView<Item>>();
    let at = this.#parent.firstElementChild;
    for (const item of items) {
      const key = this.#keyOf(item);
      if (views.has(key)) continue;
      const view = this.#views.get(key) ?? this.#create(item);
      view.update(item);
      views.set(key, view);
      if (view.node === at) at = at.nextElementSibling;
      else this.#parent.insertBefore(view.node, at);
    }
    for (const [key, { node }] of this.#views) if (!views.has(key)) node.remove();
    this.#views = views;
  }
}

/** A row of a table whose cells are texts. */
export function textRow(classes: readonly string[]): { row: HTMLTableRowElement; cells: HTMLElement[] } {
  const row = make('tr');
  const cells = classes.map((className, index) => {
    const cell = make(index === 0 ? 'th' : 'td', className);
    if (index === 0) cell.setAttribute('scope', 'row');
    row.append(cell);
    return cell;
  });
  return { row, cells };
}

/** A table body whose rows are texts, kept by their first text unless there is a key. */
export class TextTable {
  readonly #list: KeyedList<readonly string[]>;

  /** @param classes of the cells, the row's header first. */
  constructor(body: Element, classes: readonly string[]) {
    this.#list = new KeyedList(
      body,
      (texts) => texts[0]!,
      () => {
        const { row, cells } = textRow(classes);
        return {
          node: row,
          update: (texts) => {
            for (const [index, cell] of cells.entries()) setText(cell, texts[index + 1] ?? '');
          },
        };
      },
    );
  }

  /** @param rows each a key, and then the texts of its cells. */
  show(rows: readonly (readonly string[])[]): void {
    this.#list.show(rows);
  }
}

/** A list of names with values. */
export class FactList {
  readonly #list: KeyedList<readonly [name: string, value: string]>;

  constructor(parent: Element) {
    this.#list = new KeyedList(
      parent,
      ([name]) => name,
      ([name]) => {
        const value = make('dd');
        return {
          node: make('div', '', make('dt', '', name), value),
          update: ([, text]) => setText(value, text),
        };
      },
    );
  }

  show(facts: readonly (readonly [name: string, value: string])[]): void {
    this.#list.show(facts);
  }
}

/** Appends a text whose parts in backticks are code. */
export function appendProse(parent: Element, text: string): void {
  for (const [index, part] of text.split('`').entries())
    if (part !== '') parent.append(index % 2 === 1 ? make('code', '', part) : part);
}
