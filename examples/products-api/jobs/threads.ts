import type { Piscina } from 'piscina';

/** The simulation of the shop. Tests give another one. */
const SIMULATION = new URL('./simulation.js', import.meta.url);

/**
 * Threads that run simulations, started when they are needed.
 *
 * @param niceIncrement lowers their priority on Linux, so that a server with jobs of its own still serves requests.
 */
export async function startThreads(
  maxThreads: number,
  {
    simulation = SIMULATION,
    niceIncrement = 0,
  }: { simulation?: URL | undefined; niceIncrement?: number } = {},
): Promise<Piscina> {
  const { Piscina: ThreadPool } = await import('piscina');
  return new ThreadPool({
    filename: simulation.href,
    minThreads: 0,
    maxThreads,
    idleTimeout: 10_000,
    niceIncrement,
    // The loader that runs the .ts files is of no use there.
    execArgv: [],
    // A thread waits for its next task without blocking, so that it can be ended.
    atomics: 'disabled',
  });
}
