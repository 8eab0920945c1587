// The error of a config with Redis where ioredis is not installed.
const { hotpath } = require('hotpath');

const report = {};
try {
  hotpath({ cache: { redis: { url: 'redis://127.0.0.1:1' } } });
} catch ({ code, message }) {
  Object.assign(report, { code, message });
}
hotpath({ metrics: false }).close();
console.log(JSON.stringify({ ...report, memory: 'works' }));
