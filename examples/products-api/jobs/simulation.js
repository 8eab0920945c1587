// Plain JavaScript, because piscina starts it in a thread, without the loader that runs the .ts files.

/** Runs between two reports of the progress. */
const BATCH_RUNS = 5_000;

/** Units beyond these count as these many. */
const MAX_UNITS = 4_095;

const SHARES = { p5: 0.05, p25: 0.25, p50: 0.5, p75: 0.75, p95: 0.95 };

/**
 * Simulates the sales of a product many times, and counts the outcomes.
 *
 * A future has its own rate of sales, drawn from the gamma distribution that the observed days leave open. Each day has
 * a Poisson number of sales, and each sale as many units as one of the observed ones.
 *
 * @param {{ task: import('./forecast.js').ForecastTask, port: import('node:worker_threads').MessagePort }} given
 * @returns {import('./forecast.js').ForecastResult}
 */
export default function simulate({ task, port }) {
  const { input, sales, observedDays, stock, seed } = task;
  const { days, runs } = input;
  const random = randomFrom(seed);
  const counts = Array.from({ length: days }, () => new Uint32Array(MAX_UNITS + 1));
  const units = sales.length > 0 ? sales : [1];
  let soldOut = 0;
  let shown = -1;
  for (let run = 0; run < runs; run++) {
    if (run % BATCH_RUNS === 0) {
      const progress = Math.floor((run / runs) * 100);
      if (progress > shown) port.postMessage(progress);
      shown = progress;
    }
    const rate = gamma(sales.length + 0.5, random) / observedDays;
    const none = Math.exp(-rate);
    let sold = 0;
    for (let day = 0; day < days; day++) {
      // Knuth's method, whose first comparison decides most days of a shop with rare sales.
      for (let product = random(); product > none; product *= random())
        sold += units[(random() * units.length) | 0];
      counts[day][Math.min(sold, MAX_UNITS)]++;
    }
    if (sold > stock) soldOut++;
  }
  const percentiles = Object.fromEntries(
    Object.entries(SHARES).map(([name, share]) => [name, counts.map((of) => unitsAt(of, share * runs))]),
  );
  return {
    mean: counts.map((of) => meanOf(of, runs)),
    percentiles,
    stockOutProbability: soldOut / runs,
    stock,
  };
}

/** The smallest number of units that this many runs do not exceed. */
function unitsAt(counts, wanted) {
  let seen = 0;
  for (let units = 0; units < counts.length; units++) {
    seen += counts[units];
    if (seen >= wanted) return units;
  }
  return MAX_UNITS;
}

function meanOf(counts, runs) {
  let sum = 0;
  for (let units = 0; units < counts.length; units++) sum += units * counts[units];
  return Math.round((sum / runs) * 1_000) / 1_000;
}

/** Marsaglia and Tsang, for shapes of 1/2 and more. */
function gamma(shape, random) {
  const boost = shape < 1 ? random() ** (1 / shape) : 1;
  const d = (shape < 1 ? shape + 1 : shape) - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const v = (1 + c * normal) ** 3;
    if (v > 0 && Math.log(random()) < 0.5 * normal * normal + d - d * v + d * Math.log(v))
      return boost * d * v;
  }
}

/** Numbers above 0 and below 1, the same for the same seed (sfc32). */
function randomFrom(seed) {
  let a = seed | 0;
  let b = 0x9e3779b9;
  let c = 0x243f6a88;
  let counter = 1;
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return ((sum >>> 0) + 0.5) / 4_294_967_296;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}
