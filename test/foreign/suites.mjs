import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

const STARTS_SERVER = /createServer|createSecureServer/;
const ON_THE_WIRE =
  /^(?:client|content-length|headers|http-|max-|pipeline|post|readable|request|retry|stream|trailers).*\.js$/;

/**
 * The suites. `kind` and `rule`: see preload.cjs. `run` gives the arguments of Node, for all tests or for those of some
 * titles.
 */
export const SUITES = [
  {
    name: 'express5',
    kind: 'express',
    rule: 'shared',
    repository: 'https://github.com/expressjs/express.git',
    tag: 'v5.2.1',
    run: () => mocha('--require', 'test/support/env', 'test/', 'test/acceptance/'),
  },
  {
    name: 'express4',
    kind: 'express',
    rule: 'shared',
    repository: 'https://github.com/expressjs/express.git',
    tag: 'v4.22.2',
    run: () => mocha('--require', 'test/support/env', 'test/', 'test/acceptance/'),
  },
  {
    name: 'compression',
    kind: 'http',
    rule: 'shared',
    repository: 'https://github.com/expressjs/compression.git',
    tag: 'v1.8.1',
    run: () => mocha('test/'),
  },
  {
    name: 'body-parser',
    kind: 'http',
    rule: 'shared',
    repository: 'https://github.com/expressjs/body-parser.git',
    tag: 'v2.3.0',
    run: () => mocha('test/'),
  },
  {
    name: 'serve-static',
    kind: 'http',
    rule: 'shared',
    repository: 'https://github.com/expressjs/serve-static.git',
    tag: 'v2.2.1',
    run: () => mocha('test/'),
  },
  {
    name: 'express-session',
    kind: 'http',
    rule: 'shared',
    repository: 'https://github.com/expressjs/session.git',
    tag: 'v1.19.0',
    prepare: [['bash', 'test/support/gencert.sh']],
    run: () => mocha('--require', 'test/support/env', 'test/'),
  },
  {
    name: 'undici',
    kind: 'http',
    rule: 'apart',
    // Its tests fail at warnings of the process, and hotpath's checks of a set-up warn.
    env: { NODE_ENV: 'production' },
    repository: 'https://github.com/nodejs/undici.git',
    tag: 'v7.29.0',
    prepare: [
      ['node', 'scripts/generate-pem.js'],
      ['npm', 'run', '--silent', 'build:node'],
    ],
    run: ({ folder, report, titles }) => [
      ...['--expose-gc', '--test', '--test-timeout=40000', '--test-concurrency=2'],
      ...[`--test-reporter=${join(here, 'node-reporter.mjs')}`],
      ...['--test-reporter-destination', report],
      ...filesOf(folder, titles),
    ],
  },
];

function mocha(...args) {
  // On a busy machine, the first request of a file takes longer than the two seconds of mocha.
  const own = ['--exit', '--check-leaks', '--timeout', '20000'];
  return ['node_modules/mocha/bin/_mocha', ...own, '--reporter', join(here, 'mocha-reporter.cjs'), ...args];
}

/** The files about requests and responses on the wire, of those whose tests start a server of HTTP. */
function filesOf(folder, titles) {
  if (titles) return [...new Set(titles.map((title) => title.slice(0, title.indexOf(' > '))))];
  return readdirSync(join(folder, 'test'))
    .filter((file) => ON_THE_WIRE.test(file))
    .map((file) => join('test', file))
    .filter((file) => STARTS_SERVER.test(readFileSync(join(folder, file), 'utf8')))
    .sort();
}
