// Writes the result of each test of `node --test` to its destination, a line of JSON each. Suites and files count only
// by the tests in them.
import { relative } from 'node:path';

export default async function* report(events) {
  const names = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      names.length = data.nesting;
      names.push(data.name);
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const { details } = data;
    const isFile = data.nesting === 0 && data.name.endsWith('.js') && data.file?.endsWith(data.name);
    if (details.type === 'suite' || (isFile && type === 'test:pass')) continue;
    if (details.error?.failureType === 'subtestsFailed') continue;
    const file = relative(process.cwd(), data.file ?? '');
    const title = [file, ...names.slice(0, data.nesting), data.name].join(' > ');
    const outcome =
      data.skip !== undefined || data.todo !== undefined
        ? 'skipped'
        : type.slice(5) === 'pass'
          ? 'passed'
          : 'failed';
    const cause = details.error?.cause;
    yield `${JSON.stringify({ title, outcome, error: cause && String(cause.stack ?? cause) })}\n`;
  }
}
