import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answerFrom } from '../../helpers/cache.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { listen, majors } from '../../helpers/http.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpath-warming-'));
  file = join(folder, 'keys.json');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** Closed before the folder is removed. */
const later = closeAfterEach();

describe.each(majors)('the hottest URLs, on %s', (_name, express) => {
  /** A process of the app; it warms what the one before it has served. */
  async function life(most = 3) {
    const runs: string[] = [];
    const perf = later(
      hotpath({
        routes: {
          '/items/:id': { cache: { ttl: '1h' } },
          '/mine/:id': {
            cache: { ttl: '1h', partition: ({ req }) => String(req.headers['x-user'] ?? 'me') },
          },
        },
        metrics: false,
      }),
    );
    const app = express();
    app.use(perf);
    perf.attach(app);
    app.get(['/items/:id', '/mine/:id'], (req, res) => {
      const language = req.get('accept-language') ?? 'none';
      runs.push(`${req.hostname}${req.originalUrl} ${language}`);
      if (req.originalUrl.startsWith('/items/gone')) return void res.sendStatus(404);
      res.vary('Accept-Language').type('text').send(language);
    });
    perf.warming.register({ name: 'keys', topKeys: { most, file }, critical: true, retries: 0 });
    const [result] = await perf.warming.start();
    const { port } = later(await listen(app));
    const get = async (path: string, times: number, headers: Record<string, string> = {}) => {
      const own = { Host: 'shop.example', ...headers };
      for (let n = 0; n < times; n++) await answerFrom(port, { path, headers: own });
    };
    return { perf, runs, get, result };
  }

  it('are warmed by the next process, with their hosts, queries and variants', async () => {
    const first = await life();
    expect(first).toMatchObject({ runs: [], result: { state: 'succeeded' } });
    await first.get('/items/1?a=1', 4, { 'Accept-Language': 'de' });
    await first.get('/items/2', 3);
    await first.get('/items/2', 3, { Host: 'other.example' });
    await first.get('/items/3', 2);
    await first.get('/items/4', 1);
    await first.get('/mine/5', 9);
    await first.perf.close();
    const second = await life();
    expect(second.result).toMatchObject({ state: 'succeeded' });
    expect(second.runs.sort()).toEqual([
      'other.example/items/2 none',
      'shop.example/items/1?a=1 de',
      'shop.example/items/2 none',
      'shop.example/items/3 none',
    ]);
    // A process that served nothing keeps the list.
    await second.perf.close();
    expect((await life()).runs).toHaveLength(4);
  });

  it('are written as a whole into a file that only its owner may read', async () => {
    const { perf, get } = await life();
    await get('/items/1', 2);
    await perf.close();
    expect(readdirSync(folder)).toEqual(['keys.json']);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      version: 1,
      keys: [{ url: 'http://shop.example/items/1', headers: {} }],
    });
  });

  it('may be gone since, which is no failure', async () => {
    const keys = [{ url: 'http://shop.example/items/gone' }, { url: 'http://shop.example/items/1' }];
    writeFileSync(file, JSON.stringify({ version: 1, keys }));
    const { runs, result } = await life();
    expect(result).toMatchObject({ state: 'succeeded' });
    expect(runs).toHaveLength(2);
  });

  const broken: [what: string, text: string][] = [
    ['empty', ''],
    ['cut', '{"version":1,"keys":[{"url":"http://shop.exa'],
    ['of another kind', '[1,2]'],
    ['null', 'null'],
    ['full of wrong members', '{"keys":[1,null,{"url":7},{"url":"/a"},{"url":"http://u:p@h/"},{"url":"http://h/","headers":{"a b":"c"}},{"url":"http://h/","headers":{"a":"b\\r\\nc"}}]}'], // biome-ignore format: one line each
    ['too long', `{"keys":[{"url":"http://h/${'a'.repeat(1024 ** 2)}"}]}`],
  ];
  it.each(broken)('count as none in a file that is %s', async (_what, text) => {
    writeFileSync(file, text);
    expect(await life()).toMatchObject({ runs: [], result: { state: 'succeeded' } });
  });

  it('are left out, with a warning, if the file cannot be written', async () => {
    const spy = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    file = join(folder, 'none', 'keys.json');
    const { perf, get } = await life();
    await get('/items/1', 2);
    await perf.close();
    expect(spy.mock.calls.map(([text]) => String(text))).toContainEqual(
      expect.stringContaining('warming failed'),
    );
    expect(existsSync(file)).toBe(false);
  });

  it('are at most as many as topKeys says, and never those of a long list', async () => {
    const { perf, get } = await life();
    for (let id = 0; id < 130; id++) await get(`/items/${id}`, 2);
    await perf.close();
    const { keys } = JSON.parse(readFileSync(file, 'utf8'));
    expect(keys.length).toBe(100);
    expect((await life(2)).runs).toHaveLength(2);
  });
});
