import { hotpath } from 'hotpath';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { stopClock } from '../../helpers/clock.js';
import { listen, majors } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

describe.each(majors)("cacheControl: 'as-cached' (%s)", (_name, express) => {
  it.each([true, false])(
    'gives clients the freshness left, also at the front door (%s)',
    async (isAttached) => {
      const clock = stopClock();
      const policy = {
        cache: { ttl: 60, shared: true, cookies: 'ignore' as const },
        cacheControl: 'as-cached' as const,
      };
      const perf = hotpath({ routes: { '/page/:id': policy, '/none': { cacheControl: 'as-cached' } } });
      const app = express();
      app.use(perf);
      if (isAttached) perf.attach(app);
      app.get('/page/:id', (req, res) => {
        if (req.params.id === 'short') res.set('Date', new Date(Date.now() - 20_000).toUTCString());
        res.send('x');
      });
      app.get('/none', (_req, res) => void res.send('x'));
      const { url, close } = await listen(app);
      const ask = async (path: string, headers = {}) => {
        const response = await fetch(url + path, { headers });
        await response.text();
        return ['x-cache', 'age', 'cache-control'].map((name) => response.headers.get(name));
      };
      expect(await ask('/page/1')).toEqual(['MISS', null, 'max-age=60']);
      clock.pass(20_000);
      expect(await ask('/page/1')).toEqual(['HIT', '20', 'max-age=60']);
      expect(await ask('/page/1')).toEqual(['HIT', '20', 'max-age=60']);
      expect(await ask('/page/1', { cookie: 'a=1' })).toEqual(['HIT', '20', 'private, max-age=60']);
      expect(await ask('/none')).toEqual(['PASS', null, 'no-cache']);
      await perf.close();
      await close();
    },
  );
});
