/** Reads a report: a line of JSON for each test. Tests of the same title are numbered. */
export function readResults(text) {
  const results = new Map();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { title, ...result } = JSON.parse(line);
    let name = title;
    for (let number = 2; results.has(name); number++) name = `${title} (${number})`;
    results.set(name, result);
  }
  return results;
}

/** The tests that pass without hotpath, and not with it: they fail, or do not run any more. */
export function findDifferences(without, behind) {
  const found = [];
  for (const [title, { outcome }] of without) {
    const result = behind.get(title);
    if (outcome !== 'passed' || result?.outcome === 'passed') continue;
    found.push({ title, error: result ? (result.error ?? result.outcome) : 'it has not run' });
  }
  return found;
}

/** Compares the differences of a suite with the reviewed list. */
export function review(suite, differences, reviewed) {
  const listed = new Map();
  for (const { suites, tests, shows } of reviewed) {
    if (suites.includes(suite)) for (const title of tests) listed.set(title, shows);
  }
  const isListed = ({ title, error }) => listed.has(title) && error.includes(listed.get(title));
  const differing = new Set(differences.map(({ title }) => title));
  return {
    unlisted: differences.filter((each) => !isListed(each)),
    gone: [...listed.keys()].filter((title) => !differing.has(title)),
    explained: differences.filter(isListed).length,
  };
}
