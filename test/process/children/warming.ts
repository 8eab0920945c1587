// An instance that takes the lease of a warming task and never releases it.
import { hotpath } from 'hotpath';

const perf = hotpath({ cache: { redis: { url: process.env.REDIS_URL, writeTimeout: 5 } } });
const task = () => {
  process.send?.('running');
  return new Promise(() => {});
};
perf.warming.register({ name: 'one', task, critical: true, timeout: '1h', retries: 0 });
void perf.warming.start();
