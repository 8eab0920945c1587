/** A value of plain YAML: mappings, lists of scalars, and scalars as text. */
export type PlainYaml = string | PlainYaml[] | { [key: string]: PlainYaml };

interface Line {
  readonly number: number;
  readonly indent: number;
  readonly text: string;
}

/**
 * Reads the simplest YAML: block mappings, block lists of scalars, scalars on one line.
 *
 * @throws Error for anything else, valid YAML included, so that every parser agrees with this one.
 */
export function parsePlainYaml(source: string): PlainYaml {
  const lines = source.split('\n').flatMap((raw, at): Line[] => {
    const text = raw.trimStart();
    if (text === '' || text.startsWith('#')) return [];
    return [{ number: at + 1, indent: raw.length - text.length, text }];
  });
  const [value, end] = readBlock(lines, 0);
  if (end < lines.length) throw unreadable(lines[end] as Line);
  return value;
}

function readBlock(lines: readonly Line[], from: number): [value: PlainYaml, end: number] {
  const first = lines[from] as Line;
  if (first.text.startsWith('- ')) {
    const list: PlainYaml[] = [];
    let at = from;
    for (; lines[at]?.indent === first.indent; at++) {
      const line = lines[at] as Line;
      if (!line.text.startsWith('- ')) throw unreadable(line);
      list.push(readScalar(line, line.text.slice(2)));
    }
    return [list, at];
  }
  const map: { [key: string]: PlainYaml } = {};
  let at = from;
  while (lines[at]?.indent === first.indent) {
    const line = lines[at] as Line;
    const [, key, rest] = /^([\w.-]+):(?: (.+))?$/.exec(line.text) ?? [];
    if (key === undefined || Object.hasOwn(map, key)) throw unreadable(line);
    const isNested = rest === undefined && (lines[at + 1]?.indent ?? 0) > line.indent;
    if (isNested) [map[key], at] = readBlock(lines, at + 1) as [PlainYaml, number];
    else {
      if (rest === undefined) throw unreadable(line);
      map[key] = readScalar(line, rest);
      at++;
    }
  }
  return [map, at];
}

function readScalar(line: Line, text: string): string {
  const quoted = /^"([^"\\]*)"$/.exec(text)?.[1];
  if (quoted !== undefined) return quoted;
  // Text that starts with or contains one of these has another meaning in YAML.
  if (/^[\s"'[\]{}&*!|>%@`,?#-]|: |:$| #/.test(text)) throw unreadable(line);
  return text;
}

function unreadable({ number, text }: Line): Error {
  return new Error(`line ${number} is no plain YAML: ${text}`);
}
