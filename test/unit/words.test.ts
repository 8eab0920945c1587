import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { filesUnder } from '../helpers/files-under.js';
import { parsedFile } from '../helpers/import-graph.js';
import {
  commentsOf,
  countWords,
  headlineOf,
  messagesOf,
  paragraphsOf,
  proseOf,
  sentencesOf,
  titlesOf,
} from '../helpers/prose.js';

const root = join(import.meta.dirname, '../..');

/** Words and phrases to avoid, with the ones to use. A pattern applies to one sentence. */
const WORDS: readonly (readonly [avoid: RegExp, use: string])[] = [
  [/\bvisit(?:s|ed|ing|ors?)?\b/i, 'request, client'],
  [/\b(?:whoever|whomever|whosoever)\b/i, 'the name of the subject'],
  [/\b(?:some|every)body\b|\bwe who\b/i, 'the name of the subject; everyone'],
  [/\banew\b/i, 'again; new'],
  [/\bhea(?:r|rs|rd) (?:of|from)\b/i, 'receives, reads'],
  [/\basked for\b|\b(?:is|are|was|were|be|been|being) asked\b/i, 'requested; called'],
  [/\b(?:is|are|was|were) told\b|\btold of\b/i, 'receives; is called with'],
  [/\bstands? (?:behind|before|beside|between)\b/i, 'the name of the server or handler; is before'],
  [/\b(?:handler|app|origin)'s word\b/i, 'revalidation with the handler'],
  [/\bunder way\b|\bon (?:its|their) way\b/i, 'in flight, pending'],
  [/\blets? (?:it |them )?(?:by|in|through)\b/i, 'bypass, pass, accept'],
  [/\blets? (?:\w+ )?go\b/i, 'release, drop, free'],
  [/\bbrought\b/i, 'fetched, sent'],
  [/\bvouch(?:es|ed)?\b/i, 'verify'],
  [/\bshared tier\b|\bexplicitly shared\b/i, 'Redis tier; public'],
  [/\b(?:un)?confirm(?:s|ed|ing|ation)?\b/i, 'revalidate'],
  [/\buntouched\b/i, 'unchanged'],
  [/\b(?:lie|lies|lay) in (?:memory|Redis|the)\b/i, 'is kept, is stored'],
  [/\bmeans? nothing\b/i, 'has no effect'],
  [/\bsays? (?:nothing|itself|themselves)\b/i, 'sets none; declares'],
  [/\bwhat (?:came|comes|became|becomes|has become) of\b/i, 'the result of'],
  [
    /\bwhat is (?:stored|kept|cached|shared|asked|wanted|read|written|sent|made)\b/i,
    'the noun: entries, responses',
  ],
  [
    /\b(?:for|after|until) so (?:long|many|much)\b|\bso (?:many|much) (?:bytes|entries|keys|of|time)\b/i,
    'the number',
  ],
  [/\bthe same (?:of|again)\b/i, 'the noun again'],
  [/\bpass(?:es|ed)? over\b/i, 'ignore'],
  [/\b(?:has|have|had) (?:nothing|something|no word) to say\b/i, 'declares; decides'],
  [/\bof (?:everyone|all) apart\b/i, 'one per user'],
  [/\b(?:an|the|its|this|no|each|every|whole|late|cached) answer\b/i, 'response, reply'],
  [/\bon purpose\b|\bfor want of\b|\bas (?:it|they) stands?\b/i, 'a plain word'],
  [/\b(?:made|begun|told|sent) of (?:it|them|what)\b/i, 'the noun'],
];

/** A statement that begins with a relative clause instead of a noun. */
const HEADLESS = /^(?:What|Whose|Who|Those who|That which|He who)\b[^?]*$/;
const HEADLESS_USE = 'a noun as the subject';

/** The most words of a sentence. */
const LONGEST = 25;

/** Sentences that contain a listed word for a reason. Each must still occur. */
const EXEMPT: readonly (readonly [file: string, text: string, why: string])[] = [];

interface Found {
  readonly file: string;
  readonly text: string;
}

const files = (folder: string, ending: RegExp): string[] =>
  filesUnder(join(root, folder))
    .map((name) => `${folder}/${name}`)
    .filter((name) => ending.test(name));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...files('docs', /\.md$/),
  ...['src', 'bench', 'examples'].flatMap((folder) => files(folder, /\bREADME\.md$/)),
];
const code = ['src', 'test', 'bench', 'scripts', 'examples'].flatMap((folder) =>
  files(folder, /\.(?:ts|mts|mjs)$/),
);

/** Comments are read from the text, so the parser need not read them too. */
const WITHOUT_COMMENTS = {
  languageVersion: ts.ScriptTarget.Latest,
  jsDocParsingMode: ts.JSDocParsingMode.ParseNone,
};

/** Only the files of src stay in memory, because other tests of the same process read them too. */
const parsed = (file: string): ts.SourceFile =>
  file.startsWith('src/')
    ? parsedFile(join(root, file))
    : ts.createSourceFile(file, read(file), WITHOUT_COMMENTS);

/** The mistakes in each sentence, one line each. */
function mistakes(found: readonly Found[]): string[] {
  return found.flatMap(({ file, text }) =>
    sentencesOf(text).flatMap((sentence) => {
      if (EXEMPT.some(([exempt, part]) => exempt === file && sentence.includes(part))) return [];
      const wrong = WORDS.filter(([avoid]) => avoid.test(sentence)).map(
        ([avoid, use]) => `"${avoid.exec(sentence)![0]}", use: ${use}`,
      );
      if (HEADLESS.test(sentence)) wrong.push(`"${headlineOf(sentence)} …", use: ${HEADLESS_USE}`);
      return wrong.map((problem) => `${file}: ${problem}\n    ${sentence}`);
    }),
  );
}

/** The sentences with too many words, one line each. */
const tooLong = (found: readonly Found[]): string[] =>
  found.flatMap(({ file, text }) =>
    sentencesOf(text)
      .filter((sentence) => countWords(sentence) > LONGEST)
      .map((sentence) => `${file}: ${countWords(sentence)} words\n    ${sentence}`),
  );

const foundIn = (file: string, texts: readonly string[]): Found[] => texts.map((text) => ({ file, text }));

describe('plain language', () => {
  const comments: Found[] = [];
  const messages: Found[] = [];
  const titles: Found[] = [];
  for (const file of code) {
    const source = parsed(file);
    comments.push(...foundIn(file, commentsOf(source)));
    if (/^src\/.*\.ts$/.test(file)) messages.push(...foundIn(file, messagesOf(source)));
    if (/\.test\.ts$/.test(file)) titles.push(...foundIn(file, titlesOf(source)));
  }
  const paragraphs = pages.flatMap((file) => foundIn(file, proseOf(read(file))));

  it('is used in comments', () => {
    expect(comments.length).toBeGreaterThan(1000);
    expect(mistakes(comments)).toEqual([]);
  });

  it('is used in messages to users', () => {
    expect(messages.length).toBeGreaterThan(100);
    expect(mistakes(messages)).toEqual([]);
  });

  it('is used in documentation', () => {
    expect(mistakes(paragraphs)).toEqual([]);
  });

  it('has short sentences', () => {
    const parts = comments.flatMap(({ file, text }) =>
      paragraphsOf(text).map((part) => ({ file, text: part })),
    );
    // Scripts of Redis and pages of HTML have several lines.
    const lines = messages.filter(({ text }) => !text.includes('\n'));
    expect(tooLong([...parts, ...paragraphs, ...lines])).toEqual([]);
  });

  it('is used in test titles', () => {
    expect(titles.length).toBeGreaterThan(1000);
    expect(mistakes(titles)).toEqual([]);
  });

  it('has only exemptions that are needed', () => {
    expect(
      EXEMPT.filter(
        ([file, part]) =>
          !read(file)
            .replace(/\s+(?:\*|\/\/)?\s*/g, ' ')
            .includes(part),
      ),
    ).toEqual([]);
  });
});

describe('the check', () => {
  it.each([
    ['The visitor gets it.', 1],
    ['What is stored is served.', 2],
    ['Whoever asks for it waits.', 1],
    ['What does a hit cost?', 0],
    ['The client gets the stored response.', 0],
  ])('finds the mistakes of "%s"', (text, count) => {
    expect(mistakes([{ file: 'a', text }])).toHaveLength(count);
  });

  it.each([
    ['a code span counts as one word', `${'word '.repeat(24)}\`a code span\`.`, 0],
    ['a list of numbers counts as one word', `${'word '.repeat(24)}1, 2, 3 and 4.`, 0],
    ['two short sentences', `${'word '.repeat(20)}end. Another ${'word '.repeat(20)}.`, 0],
    ['a long sentence', `${'word '.repeat(25)}end.`, 1],
    ['a long item of a list', proseOf(`Short:\n\n- short\n  - ${'word '.repeat(26)}\n- short`).join('. '), 1],
    [
      'a tag of a comment',
      paragraphsOf(`Short.\n@param name ${'word '.repeat(24)}\n@returns it.`).join('. '),
      1,
    ],
  ])('counts the words of a sentence: %s', (_title, text, count) => {
    expect(tooLong([{ file: 'a', text }])).toHaveLength(count);
  });
});
