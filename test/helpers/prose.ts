import ts from 'typescript';

/** The comments of a source file, as plain text. Comments of consecutive lines are joined. */
export function commentsOf(text: string, file = 'a.ts'): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const ranges = new Map<number, ts.CommentRange>();
  const collect = (node: ts.Node): void => {
    const found = [
      ...(ts.getLeadingCommentRanges(text, node.pos) ?? []),
      ...(ts.getTrailingCommentRanges(text, node.end) ?? []),
    ];
    for (const range of found) ranges.set(range.pos, range);
    node.getChildren(source).forEach(collect);
  };
  collect(source);
  const comments: string[] = [];
  let end = -1;
  for (const range of [...ranges.values()].sort((a, b) => a.pos - b.pos)) {
    const raw = text.slice(range.pos, range.end);
    if (/^\/\/ (?:biome-ignore|@ts-)/.test(raw)) continue;
    const plain = raw
      .replace(/^\/\*\*?|\*\/$|^\/\//g, '')
      .replace(/^\s*\*/gm, '')
      .trim();
    const isContinued = raw.startsWith('//') && end > 0 && /^\n *$/.test(text.slice(end, range.pos));
    if (isContinued) comments.push(`${comments.pop() ?? ''}\n${plain}`);
    else comments.push(plain);
    end = raw.startsWith('//') ? range.end : -1;
  }
  return comments;
}

/** The string literals of a source file that are sentences or parts of them. */
export function messagesOf(text: string, file = 'a.ts'): string[] {
  return literalsOf(text, file).filter((literal) => /[a-z]{2,} [a-z]+ [a-z]+/i.test(literal));
}

/** The titles of the tests in a source file, including the texts of `it.each` rows. */
export function titlesOf(text: string, file = 'a.ts'): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
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
    .replace(/`[^`\n]*`/g, '``')
    .split(/\n\s*\n|\n(?=[-*|#>]|\d+\. )|\|/)
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
    .split(/(?<=[.?!])["')]* (?=[A-Z`"'(@])/)
    .map((sentence) => sentence.trim());
}

/** The first words of a sentence. */
export function headlineOf(sentence: string): string {
  return sentence.split(' ').slice(0, 4).join(' ');
}

function literalsOf(text: string, file: string): string[] {
  const literals: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return;
    if (ts.isStringLiteralLike(node)) literals.push(node.text);
    if (ts.isTemplateExpression(node)) {
      literals.push([node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join('…'));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return literals;
}
