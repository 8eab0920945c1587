import { describe, expect, it } from 'vitest';
import { findDifferences, readResults, review } from '../../foreign/compare.mjs';

const report = (...rows: [title: string, outcome: string, error?: string][]) =>
  readResults(rows.map(([title, outcome, error]) => JSON.stringify({ title, outcome, error })).join('\n'));

const reviewed = [{ suites: ['one'], reason: 'by design', shows: 'got b', tests: ['listed', 'same (2)'] }];

describe('the comparison of foreign suites', () => {
  it('finds tests that fail only with hotpath, or do not run there', () => {
    const without = report(
      ['a', 'passed'],
      ['b', 'failed'],
      ['c', 'passed'],
      ['d', 'skipped'],
      ['e', 'passed'],
    );
    const behind = report(['a', 'passed'], ['b', 'failed'], ['c', 'failed', 'got b'], ['d', 'failed']);
    expect(findDifferences(without, behind)).toEqual([
      { title: 'c', error: 'got b' },
      { title: 'e', error: 'it has not run' },
    ]);
  });

  it('accepts listed differences with their error, and tells of those that are gone', () => {
    const without = report(['listed', 'passed'], ['same', 'passed'], ['same', 'passed'], ['new', 'passed']);
    const behind = report(
      ['listed', 'failed', 'Error: got b'],
      ['same', 'passed'],
      ['same', 'passed'],
      ['new', 'failed', 'x'],
    );
    const differences = findDifferences(without, behind);
    expect(review('one', differences, reviewed)).toEqual({
      unlisted: [{ title: 'new', error: 'x' }],
      gone: ['same (2)'],
      explained: 1,
    });
    expect(review('two', differences, reviewed)).toMatchObject({ explained: 0, gone: [] });
  });

  it('does not accept a listed test with another error', () => {
    const found = review('one', [{ title: 'listed', error: 'timed out' }], reviewed);
    expect(found).toMatchObject({ unlisted: [{ title: 'listed' }], gone: ['same (2)'] });
  });
});
