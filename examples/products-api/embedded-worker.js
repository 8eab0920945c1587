// Plain JavaScript on purpose: a worker is started by Node itself, without the loader that runs the .ts files.
// PostgreSQL is WebAssembly here and computes synchronously; in a thread of its own, a slow query does not stop
// the event loop that serves the requests.
import { parentPort } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';

const db = await PGlite.create('memory://');
// More than the one of the pool: an SQL error replaces that, and hotpath opens its own for figures, advice and builds. All share one
// session of PostgreSQL.
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: 8 });
await server.start();

parentPort.once('message', async () => {
  await server.stop();
  await db.close();
  parentPort.close();
});
parentPort.postMessage({ port: Number(server.getServerConn().split(':').at(-1)) });
