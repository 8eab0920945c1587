// Writes the result of each test of a mocha suite to the file FOREIGN_REPORT, a line of JSON each.
const { appendFileSync } = require('node:fs');

module.exports = class Reporter {
  constructor(runner) {
    const write = (test, outcome, error) => {
      const row = { title: test.fullTitle(), outcome, error: error && String(error.stack ?? error) };
      appendFileSync(process.env.FOREIGN_REPORT, `${JSON.stringify(row)}\n`);
    };
    runner.on('pass', (test) => write(test, 'passed'));
    runner.on('pending', (test) => write(test, 'skipped'));
    runner.on('fail', (test, error) => write(test, 'failed', error));
  }
};
