import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Stands in for the simulation of the shop. The id of the product says how a run goes. */
export default async function simulate({ task, port }) {
  const { productId } = task.input;
  port.postMessage(10);
  if (productId === 2) throw new Error('a run that always fails');
  if (productId === 3) {
    // A file, because each run may have a thread of its own.
    const mark = `${process.env.TEST_MARKS}/${task.seed}`;
    if (!existsSync(mark)) {
      writeFileSync(mark, '');
      throw new Error('the first run fails');
    }
  }
  // Without end: a signal ends it.
  if (productId === 4) await delay(2 ** 31 - 1);
  if (productId === 5) {
    await delay(100);
    throw new Error('a run that fails while it is cancelled');
  }
  return {
    mean: [productId],
    percentiles: { p5: [0], p25: [0], p50: [0], p75: [0], p95: [0] },
    stockOutProbability: 0,
    stock: task.stock,
  };
}
