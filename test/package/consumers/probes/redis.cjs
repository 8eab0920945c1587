// Whether ioredis is loaded by a cache without Redis, and by one with it.
const { hotpath } = require('hotpath');
const { responseCache } = require('hotpath/cache');

const isLoaded = () => Object.keys(require.cache).some((file) => /[\\/]ioredis[\\/]/.test(file));

async function main() {
  const off = [hotpath(), responseCache({ maxStaleness: '1s' })];
  await new Promise((resolve) => setImmediate(resolve));
  const without = isLoaded();
  // Nobody listens there; a Redis that is down is no error.
  const cache = responseCache({ onError: () => {}, redis: { url: 'redis://127.0.0.1:1' } });
  while (!isLoaded()) await new Promise((resolve) => setTimeout(resolve, 10));
  console.log(JSON.stringify({ without, with: isLoaded() }));
  for (const one of [...off, cache]) await one.close();
}

main();
