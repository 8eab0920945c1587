import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as bullmq from 'bullmq';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { examplesOf, runExample } from '../../docs/examples.js';
import { majors } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/jobs.md'), 'utf8');
const examples = examplesOf(page);

let redis: RedisServer;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterEach(() => redis.command('FLUSHALL'));
afterAll(() => redis?.stop());

describe.each(majors)('docs/jobs.md on %s', (_name, express) => {
  it('shows an example that behaves as described', async () => {
    expect(examples).toHaveLength(1);
    await runExample(examples[0]!, express, { redisUrl: redis.url }, { bullmq });
  });

  it('has an example of at most 15 lines', () => {
    const [first] = examples[0]!.steps;
    const { code } = first as { code: string };
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(15);
  });
});
