import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, test } from 'vitest';
import { settingsFromEnv } from '../../../examples/products-api/settings.js';
import { startPostgres } from '../../helpers/postgres.js';
import { type Program, program } from '../../helpers/program.js';

let child: ChildProcess | undefined;

afterEach(() => {
  child?.kill('SIGKILL');
});

/** As `npm start` runs the example. */
const asUsersDo: Program = { execArgv: ['--import', 'tsx'], file: 'examples/products-api/main.ts' };

async function start(
  env: Record<string, string>,
  { execArgv, file } = program('examples/products-api/main.ts'),
): Promise<{ url: string; exited: Promise<unknown[]>; line: string }> {
  const main = spawn(process.execPath, [...execArgv, file], {
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = main;
  const exited = once(main, 'exit');
  for await (const line of createInterface({ input: main.stdout })) {
    const url = /http:\/\/localhost:\d+/.exec(line)?.[0];
    if (url !== undefined) return { url, exited, line };
  }
  throw new Error(`the example ended with ${main.exitCode} before it listened`);
}

/** A download that waits after its first bytes, until `rest()` reads on. */
async function beginDownload(url: string): Promise<{ rest(): Promise<string> }> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  const parts = response[Symbol.asyncIterator]();
  const first = await parts.next();
  return {
    async rest() {
      let text = first.value as string;
      for (let part = await parts.next(); !part.done; part = await parts.next()) text += part.value;
      return text;
    },
  };
}

describe('the example as a process', () => {
  test('starts with an embedded PostgreSQL, with all its rows, and ends on SIGTERM', async () => {
    // Takes some 8 seconds alone on a small machine, and longer beside other work.
    const { url, exited, line } = await start({}, asUsersDo);
    expect(line).toContain('embedded PostgreSQL');
    const page = await fetch(`${url}/api/products?pageSize=1`);
    expect(await page.json()).toMatchObject({ total: 20_000 });
    // The slow query runs in PostgreSQL and does not delay other requests.
    const slow = fetch(`${url}/api/categories/stats`);
    expect((await fetch(`${url}/`)).status).toBe(200);
    expect((await slow).status).toBe(200);
    child?.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  }, 300_000);

  test('finishes requests in flight on SIGTERM, accepts no more, ends event streams, exits [K02]', async () => {
    const postgres = await startPostgres();
    try {
      const { url, exited } = await start({
        DATABASE_URL: await postgres.createDatabase('shop'),
        SEED_PRODUCTS: '1000',
        SEED_ORDER_ITEMS: '100000',
      });
      const events = await beginDownload(`${url}/api/events`);
      const download = await beginDownload(`${url}/api/orders/export.csv`);
      child?.kill('SIGTERM');
      // The end of the stream shows that the signal was handled. Only then does the download continue.
      expect(await events.rest()).toContain('event: hello');
      await expect(fetch(url)).rejects.toThrow();
      const lines = (await download.rest()).split('\r\n');
      expect(lines).toHaveLength(1 + 100_000 + 1);
      expect(await exited).toEqual([0, null]);
    } finally {
      await postgres.stop();
    }
  }, 300_000);
});

describe('the settings', () => {
  test('use defaults for an empty environment', () => {
    expect(settingsFromEnv({})).toMatchObject({
      port: 3_000,
      databaseUrl: undefined,
      products: 20_000,
      orderItems: 200_000,
      allowedHosts: ['localhost', '127.0.0.1', '[::1]'],
      demo: true,
    });
  });

  test('turn the demonstration off in production, and with DEMO=0', () => {
    expect(settingsFromEnv({ NODE_ENV: 'production' }).demo).toBe(false);
    expect(settingsFromEnv({ DEMO: '0' }).demo).toBe(false);
  });

  test.each([
    ['PORT', '65536'],
    ['PORT', '80a'],
    ['RATE_LIMIT', '-1'],
    ['SEED_PRODUCTS', '1e4'],
  ])('name the variable %s when its value %s is invalid', (name, value) => {
    expect(() => settingsFromEnv({ [name]: value })).toThrow(`${name} is "${value}"`);
  });
});
