// The ES module and the CommonJS copy of the package in one process, on one app.
import { createRequire } from 'node:module';
import express from 'express';
import * as esm from 'hotpath';
import * as esmTiming from 'hotpath/timing';

const require = createRequire(import.meta.url);
const cjs = require('hotpath');
const cjsTiming = require('hotpath/timing');

const refused = ({ hotpath }) => {
  try {
    hotpath({ cache: { ttll: '1m' } });
  } catch (error) {
    return error;
  }
};
const report = {
  copies: esm.hotpath !== cjs.hotpath,
  esmError: refused(esm) instanceof cjs.HotpathError,
  cjsError: refused(cjs) instanceof esm.HotpathError,
  plainError: new Error('x') instanceof esm.HotpathError,
};

const seen = [];
const look = (_req, res, next) => {
  seen.push({ exchange: res[Symbol.for('hotpath.exchange')], end: res.end });
  next();
};
const app = express();
app.use(esmTiming.timing(), look, cjsTiming.timing(), look);
app.get('/', (_req, res) => res.send('x'));

const server = app.listen(0, '127.0.0.1', async () => {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
  await answer.text();
  server.close();
  report.exchange = typeof seen[0].exchange === 'object' && seen[0].exchange === seen[1].exchange;
  report.patchedOnce = seen[0].end === seen[1].end;
  report.responseTimes = answer.headers.get('x-response-time').split(',').length;
  console.log(JSON.stringify(report));
});
