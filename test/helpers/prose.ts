import ts from 'typescript';

/** The comments of a source file, as plain text. Comments of consecutive lines are joined. */
export function commentsOf(source: ts.SourceFile): string[] {
  const { text } = source;
  const comments: string[] = [];
  let end = -1;
  for (const { 0: raw, index } of withoutLiterals(source).matchAll(/\/\*[\s\S]*?\*\/|\/\/.*/g)) {
    if (/^\/\/ (?:biome-ignore|@ts-)/.test(raw)) continue;
    const plain = raw
      .replace(/^\/\*\*?|\*\/$|^\/\//g, '')
      .replace(/^\s*\*/gm, '')
      .trim();
    const isContinued = raw.startsWith('//') && end > 0 && /^\n *$/.test(text.slice(end, index));
    if (isContinued) comments.push(`${comments.pop() ?? ''}\n${plain}`);
    else comments.push(plain);
    end = raw.startsWith('//') ? index + raw.length : -1;
  }
  return comments;
}

/** The text with spaces in place of its literals, which may contain `//`. */
function withoutLiterals(source: ts.SourceFile): string {
  const { text } = source;
  const parts: string[] = [];
  let at = 0;
  const cut = (node: ts.Node): void => {
    const start = node.getStart(source);
    parts.push(text.slice(at, start), ' '.repeat(node.end - start));
    at = node.end;
  };
  const find = (node: ts.Node): void => {
    if (ts.isLiteralExpression(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node))
      cut(node);
    else ts.forEachChild(node, find);
  };
  find(source);
  return parts.join('') + text.slice(at);
}

/** The string literals of a source file that are sentences or parts of them. */
export function messagesOf(source: ts.SourceFile): string[] {
  return literalsOf(source).filter((literal) => /[a-z]{2,} [a-z]+ [a-z]+/i.test(literal));
}

/** The titles of the tests in a source file, including the texts of `it.each` rows. */
export function titlesOf(source: ts.SourceFile): string[] {
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(?:it|test|describe)\b/.test(node.expression.getText(source))) {
      const [title] = node.arguments;
      if (title && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title))) {
        titles.push(title.getText(source).slice(1, -1));
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

/** The prose of a Markdown page: paragraphs, list items, table cells and headings, without code. */
export function proseOf(page: string): string[] {
  return page
    .replace(/^(?:```|~~~)[\s\S]*?^(?:```|~~~)$/gm, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/^\[[^\]]*\]: .*$/gm, '')
    .replace(/`[^`\n]*`/g, '``')
    .split(/\n\s*\n|\n(?=\s*(?:[-*|#>] ?|\d+\. ))|\|/)
    .map((part) =>
      part
        .replace(/^[\s#>*|-]+/, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )
    .filter((part) => part !== '');
}

/** The sentences of a text. A semicolon or colon does not end one. */
export function sentencesOf(text: string): string[] {
  return text
    .replace(/\s+/g, ' ')
    .split(/(?<=[.?!])["')*]* (?=[A-Z\d`"'(@*[]|hotpath\b)/)
    .map((sentence) => sentence.trim());
}

/** The parts of a comment: paragraphs, list items and tags, without code examples, tables and figures. */
export function paragraphsOf(comment: string): string[] {
  return comment
    .split(/\n\s*\n|\n\s*(?=(?:[-*] |\d+\. |@\w))/)
    .map((part) => part.trim())
    .filter((part) => !/\S {3,}\S/.test(part));
}

/** The number of words in a sentence. A list of code spans or numbers counts as one word. */
export function countWords(sentence: string): number {
  return sentence
    .replace(/`[^`]*`/g, '1')
    .replace(/\d+(?:(?:,| and| or|, and|, or) \d+)+/g, '1')
    .split(/\s+/)
    .filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

/** The first words of a sentence. */
export function headlineOf(sentence: string): string {
  return sentence.split(' ').slice(0, 4).join(' ');
}

function literalsOf(source: ts.SourceFile): string[] {
  const literals: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return;
    if (ts.isStringLiteralLike(node)) literals.push(node.text);
    if (ts.isTemplateExpression(node)) {
      literals.push([node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join('…'));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return literals;
}
