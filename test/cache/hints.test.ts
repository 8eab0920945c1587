import { createServer, type ServerResponse } from 'node:http';
import { type CacheHints, type CacheRule, cacheOf } from 'hotpath/cache';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { stopClock } from '../helpers/clock.js';
import { listen, majors } from '../helpers/http.js';

// Wrong hints are reported as process warnings, which are wanted here and nowhere else.
beforeEach(() => void vi.spyOn(process, 'emitWarning').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('cacheOf(res) on %s', (_, express) => {
  const make = (hint: (hints: CacheHints, res: ServerResponse) => void, rule: CacheRule = { ttl: 60 }) =>
    cacheApp({
      express,
      cache: { routes: { '/x': rule } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          hint(cacheOf(res), res);
          res.send(`run ${count()}`);
        }),
    });

  it('H07 tags given by the handler are added to those of the rule, and each purges', async () => {
    const made = await make((hints) => hints.tag('a', 'b').tag('c'), { ttl: 60, tags: ['rule'] });
    for (const [i, tag] of ['a', 'b', 'c', 'rule'].entries()) {
      expect((await made.get('/x')).text).toBe(`run ${i + 1}`);
      expect((await made.get('/x')).text).toBe(`run ${i + 1}`);
      await made.cache.purge({ tag });
    }
  });

  it('D22 a list of tags that its function changes later still purges by what it was', async () => {
    const tags = ['first'];
    const made = await make(() => {}, { ttl: 60, tags: () => tags });
    await made.get('/x');
    tags[0] = 'second';
    await made.cache.purge({ tag: 'first' });
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('H15 a lifetime given by the handler comes before that of the rule, and ends', async () => {
    const clock = stopClock();
    const made = await make((hints) => hints.ttl(0.6));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
    clock.pass(599);
    expect((await made.get('/x')).text).toBe('run 1');
    clock.pass(2);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('H15 a lifetime given by the handler is enough without one in the rule', async () => {
    const made = await make((hints) => hints.ttl('10s'), {});
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
  });

  it.each<[string, (hints: CacheHints) => unknown, string]>([
    ['a lifetime of 0', (hints) => hints.ttl(0), 'no-lifetime'],
    ['a negative lifetime', (hints) => hints.ttl(-1), 'invalid-ttl'],
    ['NaN', (hints) => hints.ttl(Number.NaN), 'invalid-ttl'],
    ['Infinity', (hints) => hints.ttl(Number.POSITIVE_INFINITY), 'invalid-ttl'],
    ['a lifetime in words', (hints) => hints.ttl('5 min' as never), 'invalid-ttl'],
    ['no lifetime', (hints) => hints.ttl(undefined as never), 'invalid-ttl'],
    ['a lifetime that is an object', (hints) => hints.ttl({} as never), 'invalid-ttl'],
    ['a tag that is no text', (hints) => hints.tag(7 as never), 'invalid-tag'],
    ['an empty tag', (hints) => hints.tag('ok', ''), 'invalid-tag'],
    ['a list as a tag', (hints) => hints.tag(['a', 'b'] as never), 'invalid-tag'],
    ['a tag without any text', (hints) => hints.tag(Object.create(null) as never), 'invalid-tag'],
    ['a symbol as a tag', (hints) => hints.tag(Symbol('x') as never), 'invalid-tag'],
    ['skip', (hints) => hints.skip(), 'skip'],
    ['skip with a reason', (hints) => hints.skip('too new'), '"too new"'],
    ['skip with a reason that breaks lines', (hints) => hints.skip('a\r\nX-Evil: 1'), '"aX-Evil: 1"'],
    ['skip with an empty reason', (hints) => hints.skip(''), 'skip'],
    ['skip with a reason that is no text', (hints) => hints.skip(Symbol('x') as never), 'skip'],
    ['skip after a lifetime', (hints) => hints.ttl('1h').tag('a').skip('why'), 'why'],
  ])('K04 %s keeps a response out of the cache, and breaks nothing', async (_name, hint, detail) => {
    const made = await make((hints) => void hint(hints));
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    const second = await made.get('/x');
    expect(second.text).toBe('run 2');
    expect(second.cacheStatus).toMatch(new RegExp(`; detail=${detail}$`));
    expect(made.cache.stats()).toMatchObject({ stores: 0, pending: 0 });
  });

  it.each(['private', 'no-store', 'no-cache'])(
    'H15 a lifetime never makes %s storable',
    async (directive) => {
      const made = await make((hints, res) => {
        res.setHeader('Cache-Control', directive);
        hints.ttl('1h');
      });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    },
  );

  it('K04 reasons that handlers invent are counted apart up to a bound', async () => {
    let n = 0;
    const made = await make((hints) => hints.skip(`reason ${n++}`));
    for (let i = 0; i < 150; i++) await made.get('/x');
    const { refusals } = made.cache.stats();
    expect(Object.keys(refusals).length).toBeLessThanOrEqual(101);
    expect(Object.values(refusals).reduce((sum, count) => sum + count, 0)).toBe(150);
  });
});

describe('cacheOf(res) without a cache', () => {
  it('K04 is harmless on a plain server, and each response has its own', async () => {
    const { url, close } = await listen(
      createServer((_req, res) => {
        const hints = cacheOf(res);
        const same = hints.tag('a').ttl('10s').skip('why') === hints && cacheOf(res) === hints;
        res.end(String(same));
      }),
    );
    expect(await (await fetch(url)).text()).toBe('true');
    await close();
  });
});
