// Writes docs/options.md from the option interfaces in src: `npm run docs:options`.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** An option, as declared in its interface. */
export interface Option {
  /** Relative to its section, such as `memory.maxBytes`. */
  readonly name: string;
  readonly type: string;
  /** From the comment, such as `` `'64mb'` `` or `none`; empty without one. */
  readonly default: string;
  readonly text: string;
}

/** The options of one interface. */
export interface Section {
  /** The path in the config; empty for the config itself. */
  readonly path: readonly string[];
  readonly text: string;
  readonly options: readonly Option[];
}

/** An environment variable that `configFromEnv` reads. */
export interface Variable {
  readonly name: string;
  readonly text: string;
}

interface Declarations {
  /** Interfaces of options, by name. */
  readonly interfaces: ReadonlyMap<string, ts.InterfaceDeclaration>;
  readonly aliases: ReadonlyMap<string, ts.TypeAliasDeclaration>;
  readonly files: readonly ts.SourceFile[];
}

/** An example path for the entries of `routes`. */
export const EXAMPLE_PATH = '/path';

/** All sections, from the config downwards, in the order of the source. */
export function optionSections(root: string): Section[] {
  const declarations = readDeclarations(join(root, 'src'));
  const config = declarations.interfaces.get('HotpathConfig');
  if (!config) throw new Error('src declares no interface HotpathConfig');
  const sections: Section[] = [];
  addSection(sections, new Map(), declarations, config, [], '');
  const isOfRoutes = ({ path }: Section) => path[0] === 'routes';
  const [first, ...others] = sections;
  return [first!, ...others.filter(isOfRoutes), ...others.filter((section) => !isOfRoutes(section))];
}

/** The variables that `configFromEnv` reads, with their comments. */
export function environmentVariables(root: string): Variable[] {
  const { files } = readDeclarations(join(root, 'src'));
  const file = files.find(({ text }) => text.includes('export function configFromEnv('));
  if (!file) throw new Error('src declares no function configFromEnv');
  const tables = new Map<string, ts.ObjectLiteralExpression>();
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (initializer && ts.isObjectLiteralExpression(initializer)) tables.set(name.getText(), initializer);
    }
  }
  const read = (table: ts.ObjectLiteralExpression | undefined): Variable[] =>
    (table?.properties ?? []).flatMap((property) =>
      ts.isSpreadAssignment(property)
        ? read(tables.get(property.expression.getText()))
        : [{ name: property.name.getText(), text: commentOf(property) }],
    );
  return read(tables.get('variables'));
}

/** The page, as Markdown. */
export function optionsPage(root: string): string {
  const parts = optionSections(root).map(sectionText);
  const variables = environmentVariables(root);
  return `${[INTRODUCTION, ...parts, ENVIRONMENT, variablesTable(variables)].join('\n\n')}\n`;
}

const INTRODUCTION = `# Options

<!-- Written by \`npm run docs:options\` from the comments in src; do not edit. -->

One object configures everything. Each section is an object of options, \`true\` (the defaults) or \`false\` (off); an option
that is \`undefined\` counts as not given. hotpath checks the whole object when it is created and throws one
\`HotpathError\` that lists every mistake.

\`\`\`ts
import { defineConfig, hotpath } from 'hotpath';

const config = defineConfig({
  routes: { '/api/products': { cache: { ttl: '1h', tags: ['products'] }, sizeLimit: '50mb' } },
  timing: { slow: '1s' },
  compression: false,
});
const perf = hotpath(config);
\`\`\`

A **duration** is \`'500ms'\`, \`'30s'\`, \`'5m'\`, \`'1h'\`, \`'1d'\` or a number of seconds. A **size** is \`'512b'\`,
\`'1kb'\`, \`'10mb'\`, \`'10 MB'\`, \`'1gb'\` (units of 1024) or a number of bytes.

Each middleware also works alone and takes the options of its own section, plus \`routes\` with its policies by path:

\`\`\`ts
import { responseCache } from 'hotpath/cache';

const cache = responseCache({
  memory: { maxBytes: '256mb' },
  routes: { '/api/products': { ttl: '1h' } },
});
\`\`\``;

const ENVIRONMENT = `## Environment variables

\`configFromEnv(base)\` returns a copy of \`base\` with these variables applied; the environment wins. An empty variable counts
as absent, and a malformed one is an error at start. Digits without a unit are seconds or bytes.

\`\`\`ts
import { configFromEnv, hotpath } from 'hotpath';

const perf = hotpath(configFromEnv({ routes: { '/api/products': { cache: {} } } }));
\`\`\``;

/** @param places paths of the interfaces that already have a section. */
function addSection(
  sections: Section[],
  places: Map<string, readonly string[]>,
  declarations: Declarations,
  declared: ts.InterfaceDeclaration,
  path: readonly string[],
  aliasText: string,
): void {
  const all = withBases(declarations, declared);
  for (const { name } of all) places.set(name.text, path);
  const members = all.flatMap((each) => [...each.members]);
  const options = optionsOf(members, '');
  sections.push({ path, text: aliasText || commentOf(declared), options });
  // Sections come first, because the policies of a route refer to them.
  for (const member of members.toSorted((a, b) => Number(isRoutes(a)) - Number(isRoutes(b)))) {
    if (!ts.isPropertySignature(member) || !member.type) continue;
    const name = member.name.getText();
    const inner = isRoutes(member) ? [...path, name, EXAMPLE_PATH] : [...path, name];
    const at = options.findIndex((option) => option.name === name);
    for (const { found, text } of optionInterfaces(declarations, member.type)) {
      const known = places.get(found.name.text);
      if (!known) addSection(sections, places, declarations, found, inner, text);
      const see = `See ${link(known ?? inner)}.`;
      const more = known && !text.includes('\n- ') ? `${text} ${see}` : see;
      const option = options[at]!;
      options[at] = { ...option, text: `${option.text} ${more}` };
    }
  }
}

/** An interface after those that it extends. */
function withBases(declarations: Declarations, declared: ts.InterfaceDeclaration): ts.InterfaceDeclaration[] {
  const types = (declared.heritageClauses ?? []).flatMap((clause) => [...clause.types]);
  const bases = types.flatMap(({ expression }) => declarations.interfaces.get(expression.getText()) ?? []);
  return [...bases.flatMap((base) => withBases(declarations, base)), declared];
}

function isRoutes(member: ts.TypeElement): boolean {
  return member.name?.getText() === 'routes';
}

function link(path: readonly string[]): string {
  const text = pathText(path);
  return `[\`${text}\`](#${text.toLowerCase().replace(/[^a-z0-9]/g, '')})`;
}

/** Interfaces of options in a type, directly or through an alias, whose comment then describes them. */
function optionInterfaces(
  { interfaces, aliases }: Declarations,
  type: ts.TypeNode,
): { found: ts.InterfaceDeclaration; text: string }[] {
  return namesIn(type).flatMap((name) => {
    const alias = aliases.get(name);
    const text = alias ? commentOf(alias) : '';
    return [name, ...(alias ? namesIn(alias.type) : [])].flatMap((each) => {
      const found = interfaces.get(each);
      return found ? [{ found, text }] : [];
    });
  });
}

/** Whether all members of an interface are optional. */
function isOptions({ members }: ts.InterfaceDeclaration): boolean {
  return members.every((member) => ts.isPropertySignature(member) && member.questionToken !== undefined);
}

function namesIn(type: ts.TypeNode): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionTypeNode(node)) return; // parameters of a function are not options
    if (ts.isTypeReferenceNode(node)) names.push(node.typeName.getText());
    ts.forEachChild(node, visit);
  };
  visit(type);
  return names;
}

function optionsOf(members: readonly ts.TypeElement[], prefix: string): Option[] {
  return members.flatMap((member): Option[] => {
    if (!ts.isPropertySignature(member) || !member.type) return [];
    const name = `${prefix}${member.name.getText()}`;
    const type = typeOfValue(member.type);
    // A consumer with exactOptionalPropertyTypes could not pass `undefined` otherwise.
    if (member.questionToken && !/\| undefined$/.test(member.type.getText()))
      throw new Error(`${name}?: add \`| undefined\` to its type`);
    if (ts.isTypeLiteralNode(type)) {
      const group = { name, type: 'object', ...described(member) };
      return [group, ...optionsOf(type.members, `${name}.`)];
    }
    return [{ name, type: typeText(type), ...described(member) }];
  });
}

/** The type of an option that is given: without `| undefined`, which every option has. */
function typeOfValue(type: ts.TypeNode): ts.TypeNode {
  if (!ts.isUnionTypeNode(type)) return type;
  const [first, ...others] = type.types.filter(({ kind }) => kind !== ts.SyntaxKind.UndefinedKeyword);
  if (!first || others.length > 0) return type;
  return ts.isParenthesizedTypeNode(first) ? first.type : first;
}

function typeText(type: ts.TypeNode): string {
  return type
    .getText()
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\s+/g, ' ')
    .replace(/^\| /, '')
    .replace(/ \| undefined$/, '')
    .trim();
}

/** A comment, split at its last sentence, `Default: …`. */
function described(member: ts.Node): Pick<Option, 'default' | 'text'> {
  const comment = commentOf(member);
  const [whole, text = '', value = ''] = /^([\s\S]*?)\s*\bDefault:?\s([\s\S]+?)\.?$/.exec(comment) ?? [];
  return whole === undefined ? { default: '', text: comment } : { default: value, text };
}

function commentOf(node: ts.Node): string {
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  return comments.map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '').join('\n');
}

/** A section as Markdown. */
function sectionText({ path, text, options }: Section): string {
  const level = path.length < 2 || path.at(-1) === EXAMPLE_PATH ? '##' : '###';
  const heading = path.length === 0 ? 'The config' : `\`${pathText(path)}\``;
  const rows = options.map(
    ({ name, type, default: value, text: what }) =>
      `| \`${name}\` | \`${escaped(type)}\` | ${escaped(oneLine(value))} | ${escaped(oneLine(what))} |`,
  );
  return [
    `${level} ${heading}`,
    text,
    ['| option | type | default | |', '| --- | --- | --- | --- |', ...rows].join('\n'),
  ].join('\n\n');
}

function variablesTable(variables: readonly Variable[]): string {
  const rows = variables.map(({ name, text }) => `| \`${name}\` | ${escaped(oneLine(text))} |`);
  return ['| variable | |', '| --- | --- |', ...rows].join('\n');
}

/** The path as written in code: `routes['/path'].cache`. */
export function pathText(path: readonly string[]): string {
  return path.reduce((text, key) => {
    if (!/^\w+$/.test(key)) return `${text}['${key}']`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|');
}

const declarationsOf = new Map<string, Declarations>();

/** Parses the source once in a process, because the parts of the page and its tests all need it. */
function readDeclarations(source: string): Declarations {
  const known = declarationsOf.get(source);
  if (known) return known;
  const interfaces = new Map<string, ts.InterfaceDeclaration>();
  const aliases = new Map<string, ts.TypeAliasDeclaration>();
  const names = readdirSync(source, { recursive: true, encoding: 'utf8' });
  const files = names
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => ({ name, text: readFileSync(join(source, name), 'utf8') }))
    // The others declare no options: most of src is not parsed.
    .filter(({ text }) => /^export (?:interface|type|function configFromEnv)\b/m.test(text))
    .map(({ name, text }) => ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true));
  for (const statement of files.flatMap((file) => [...file.statements])) {
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) continue;
    if (ts.isInterfaceDeclaration(statement) && isOptions(statement))
      interfaces.set(statement.name.text, statement);
    else if (ts.isTypeAliasDeclaration(statement)) aliases.set(statement.name.text, statement);
  }
  const found = { interfaces, aliases, files };
  declarationsOf.set(source, found);
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  writeFileSync(join(root, 'docs/options.md'), optionsPage(root));
}
