import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hotpath } from 'hotpath';
import { monitorPool, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../helpers/port.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/metrics.md'), 'utf8');

describe('docs/metrics.md', () => {
  it('lists every metric of ours, with its type and labels, and no other', async () => {
    // Nobody listens there: what is listed does not depend on whether Redis answers.
    const perf = hotpath({
      loadShedding: true,
      alerts: true,
      cache: { redis: { url: `redis://127.0.0.1:${await freePort()}` } },
    });
    // No connection succeeds.
    const pool = monitorPool(new pg.Pool({ host: '127.0.0.1', port: await freePort() }), { perf });
    const db = postgres(pool, { perf });
    void db.purgeOnChange({ items: {} });
    try {
      const registered = (await perf.metrics.registry!.getMetricsAsJSON())
        .map(({ name, type }) => ({ name, type: String(type) }))
        .filter(({ name }) => /^(http|hotpath)_/.test(name))
        .map(({ name, type }) => {
          const metric = perf.metrics.registry!.getSingleMetric(name) as unknown as { labelNames: string[] };
          return `${name} ${type} ${[...metric.labelNames].sort().join()}`;
        });
      const listed = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) ?\|/gm)].map(
        ([, name, type, labels = '']) => `${name} ${type} ${labelsIn(labels).join()}`,
      );
      expect(listed.toSorted()).toEqual(registered.toSorted());
      expect(listed.length).toBeGreaterThan(20);
    } finally {
      await db.close();
      await perf.close();
    }
  });
});

/** The labels of a cell: `` `a`, `b` `` are two, and in `` `a`: `x`, `y`; `b` `` what follows a colon are values. */
function labelsIn(cell: string): string[] {
  const parts = cell.includes(':')
    ? cell.split('; ').map((part) => part.split(':')[0] ?? '')
    : cell.split(', ');
  return parts
    .map((part) => part.replaceAll('`', '').trim())
    .filter((name) => name !== '')
    .sort();
}
