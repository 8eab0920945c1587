// Plain JavaScript on purpose: a worker is started by Node itself, without the loader that runs the .ts files.
// PostgreSQL is WebAssembly here and computes synchronously; in a thread of its own, a slow query does not stop
// the event loop that serves the requests.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parentPort } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { openCluster } from './embedded-cluster.js';
import { createEmbeddedServer } from './embedded-server.js';

const home = new URL('../', import.meta.resolve('@electric-sql/pglite'));
const { version } = JSON.parse(await readFile(new URL('package.json', home), 'utf8'));
const saved = new URL(`../../.cache/products-api/pglite-${version}.tar.gz`, home);
const db = await openCluster(fileURLToPath(saved), (options) => PGlite.create('memory://', options));
const server = createEmbeddedServer(db).listen(0, '127.0.0.1');
await once(server, 'listening');

parentPort.once('message', async () => {
  server.close();
  await db.close();
  parentPort.close();
});
parentPort.postMessage({ port: server.address().port });
