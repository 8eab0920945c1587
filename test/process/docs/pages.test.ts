import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { examplesOf, runExample } from '../../docs/examples.js';
import { majors } from '../../helpers/http.js';

const root = join(import.meta.dirname, '../../..');

/** The pages for users and maintainers, relative to the root. */
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const read = (file: string) => readFileSync(join(root, file), 'utf8');

/** Pages whose examples another test runs. */
const withExamples = pages
  // These need a server or files: the tests in test/services/docs and test/process/docs/assets.test.ts run them.
  .filter((page) => !['docs/postgres.md', 'docs/jobs.md', 'docs/assets.md'].includes(page))
  .map((page) => [page, examplesOf(read(page))] as const)
  .filter(([, { length }]) => length);

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Source files that a page names, in code or in prose, from the root or from `src`, and that do not exist. */
function missingFiles(page: string): string[] {
  const named = new Set([
    ...[...page.matchAll(/`([\w.-]+\/[\w./-]+\.(?:[cm]?ts|[cm]?js))`/g)].map(([, path = '']) => path),
    ...(page.match(
      /(?<![\w./@-])(?:src|test|bench|scripts|docs|examples)\/[\w./-]+\.(?:[cm]?ts|[cm]?js|md)\b/g,
    ) ?? []),
  ]);
  return [...named].filter((path) => !existsSync(join(root, path)) && !existsSync(join(root, 'src', path)));
}

describe('the check of source files', () => {
  it('finds a file that does not exist, from the root and from src', () => {
    expect(missingFiles('`src/config.ts`, `cache/decide.ts`, test/helpers/redis.ts')).toEqual([]);
    expect(missingFiles('`src/no.ts`, `cache/no.ts`, see test/no.test.ts.')).toEqual([
      'src/no.ts',
      'cache/no.ts',
      'test/no.test.ts',
    ]);
  });
});

describe('the examples of the docs', () => {
  it('are found', () => {
    expect(withExamples.map(([page]) => page)).toContain('docs/caching.md');
    expect(withExamples.flatMap(([, examples]) => examples).length).toBeGreaterThan(15);
  });

  describe.each(majors)('on %s', (_name, express) => {
    it.each(
      withExamples.flatMap(([page, examples]) =>
        examples.map((example) => [page, example.name, example] as const),
      ),
    )('behave as %s shows under "%s"', async (_page, _heading, example) => {
      await runExample(example, express);
    });
  });
});

describe.each(pages)('%s', (file) => {
  const page = read(file);
  // Links in code are none.
  const text = page.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '``');

  it('links to files and headings that exist', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = '']) => link)
      .filter((link) => !/^(https?:|mailto:)/.test(link));
    const broken = links.filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : join(dirname(file), path);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('names source files that exist', () => {
    expect(missingFiles(page)).toEqual([]);
  });

  it('defines every reference that it uses, and uses each', () => {
    const used = new Set([...text.matchAll(/\]\[([a-z0-9]+)\]/g)].map(([, name]) => name));
    const defined = [...text.matchAll(/^\[([a-z0-9]+)\]: https:\/\/\S+$/gm)].map(([, name]) => name);
    expect([...used].toSorted()).toEqual(defined.toSorted());
  });

  it('lists all of its sections where it lists any', () => {
    const listed = [...page.matchAll(/^- \[.+\]\(#(.+)\)$/gm)].map(([, anchor]) => anchor);
    const sections = anchorsOf(page.replace(/^#(?!# ).*$/gm, ''));
    expect(listed).toEqual(listed.length === 0 ? [] : sections);
  });
});
