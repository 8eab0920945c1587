// A process that builds an index on `items (kind)`, and reports when the server works on it.
import pg from 'pg';
import { resolve, section } from '../../../src/options/schema.js';
import { IndexBuilds } from '../../../src/postgres/builds/index-builds.js';
import { buildEntries } from '../../../src/postgres/builds/options.js';
import { Sessions } from '../../../src/postgres/sessions.js';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const settings = resolve(section(buildEntries), { apply: true, lockTimeout: '1m' }, 'indexes');
const builds = new IndexBuilds(new Sessions(pool as never, undefined), settings);
const definition = {
  schema: 'public',
  table: 'items',
  method: 'btree',
  keys: [{ column: 'kind' }],
  include: [],
} as const;
const refusals = await builds.request([{ definition, level: 'verified' }]);
if (refusals.length > 0) throw new Error(JSON.stringify(refusals));
const looking = setInterval(async () => {
  const [build] = await builds.list();
  if (!build?.phase) return;
  clearInterval(looking);
  process.send?.(1);
}, 50);
