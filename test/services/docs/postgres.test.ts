import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examplesOf, runExample } from '../../docs/examples.js';
import { majors } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/postgres.md'), 'utf8');
const examples = examplesOf(page);

let server: TestPostgres;
let databaseUrl: string;
beforeAll(async () => {
  server = await startPostgres();
  databaseUrl = await server.createDatabase('docs');
});
afterAll(() => server?.stop());

describe.each(majors)('docs/postgres.md on %s', (_name, express) => {
  it.each(examples.map((example) => [example.name, example] as const))(
    'shows an example that behaves as described: %s',
    async (_heading, example) => {
      await runExample(example, express, { databaseUrl });
    },
  );

  it('has examples of at most 15 lines', () => {
    const lengths = examples.flatMap(({ steps }) =>
      steps.flatMap((step) => ('code' in step ? [step.code.trim().split('\n').length] : [])),
    );
    expect(lengths.length).toBeGreaterThan(0);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(15);
  });
});
